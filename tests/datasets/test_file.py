"""Data of the user's own: read as written, or refused with the file and the place."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from avi.datasets.base import describe, repeated_rows
from avi.datasets.file import File
from avi.datasets.tables import PLAIN as PLAINLY
from avi.datasets.tables import observations, read_again, read_table
from avi.errors import ConfigError, DataError
from avi.types import Origin

RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((40, 3))
PLAIN = File(
    path="rows.npy",
    array=None,
    header=None,
    support="real",
    white=1,
    missing="refuse",
    binarize="none",
    binarize_seed=0,
    image_shape=None,
    valid_fraction=0.1,
    test_fraction=0.2,
    shuffle=True,
    split_seed=0,
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(rows, name="rows.npy"):
    np.save(name, rows)


def write_csv(text, name="rows.csv"):
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return replace(PLAIN, path=name)


def test_every_row_is_in_one_split():
    save(REAL)
    splits = PLAIN.load()
    assert [len(split) for split in splits[:3]] == [28, 4, 8]
    found = np.concatenate(splits[:3])
    assert sorted(map(bytes, found)) == sorted(map(bytes, REAL))
    assert not (found == REAL).all()
    np.testing.assert_array_equal(np.concatenate(replace(PLAIN, shuffle=False).load()[:3]), REAL)


def test_the_view_is_the_row_in_the_precision_of_the_run():
    save(REAL)
    splits = PLAIN.load()
    seen = jax.vmap(PLAIN.view, (0, 0, None))(splits.train, np.arange(28), 0)
    np.testing.assert_array_equal(seen, splits.train.astype(np.float32))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(PLAIN.view(splits.train[0], 0, 0), splits.train[0])
        mean = describe(PLAIN, splits).mean
        np.testing.assert_allclose(mean, splits.train.mean(0), rtol=1e-12)


def test_rows_of_images_are_flattened_and_drawn_in_their_shape():
    save(RANDOM.integers(0, 256, (10, 4, 5), dtype=np.uint8))
    images = replace(PLAIN, support="unit", white=255, image_shape=(4, 5))
    splits = images.load()
    assert splits.train.shape == (7, 20)
    assert splits.train.dtype == np.uint8
    assert 0 <= images.view(splits.train[0], 0, 0).min() <= images.view(splits.train[0], 0, 0).max()
    with pytest.raises(DataError, match=r"rows of 20 numbers are not images of shape \[5, 5\]"):
        replace(images, image_shape=(5, 5)).load()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_grey_values_are_binarised_alike_whatever_their_dtype(dtype):
    # White is 1: the values are exact in every dtype.
    save(RANDOM.integers(0, 2, (400, 6)).astype(dtype))
    fixed = replace(PLAIN, support="binary", binarize="fixed")
    np.testing.assert_array_equal(
        np.concatenate(fixed.load()[:3]), np.concatenate(replace(fixed, binarize="none").load()[:3])
    )


def test_fixed_and_dynamic_grey_numbers_give_reports_the_same_bits():
    save(RANDOM.random((50, 9)))
    fixed = replace(PLAIN, support="binary", binarize="fixed", split_seed=3)
    dynamic = replace(fixed, binarize="dynamic")
    bits, grey = fixed.load().train, dynamic.load().train
    seen = jax.jit(jax.vmap(dynamic.fixed().view, (0, 0, None)))(grey, np.arange(len(grey)), 4)
    np.testing.assert_array_equal(seen, bits)
    assert 0.3 < bits.mean() < 0.7


def test_counts_are_kept_whole():
    save(np.asarray([[0, 300], [1, 2**24], [5, 6]], np.float64))
    splits = replace(PLAIN, support="count").load()
    assert splits.train.dtype == np.int32
    assert np.concatenate(splits[:3]).max() == 2**24


def test_training_rows_among_the_test_rows_are_counted():
    rows = REAL.copy()
    rows[-3:] = rows[0]
    save(rows)
    assert repeated_rows(replace(PLAIN, shuffle=False).load()) == 3


# --- csv ------------------------------------------------------------------------------------------

GOOD_CSV = {
    "plain": "1,2\n3,4\n5,6\n",
    "no last line break": "1,2\n3,4\n5,6",
    "header": "height,weight\n1,2\n3,4\n5,6\n",
    "windows": "height,weight\r\n1,2\r\n3,4\r\n5,6\r\n",
    "byte order mark": "\ufeff1,2\n3,4\n5,6\n",
    "blank lines at the end": "1,2\n3,4\n5,6\n\n\n",
    "quoted": '"a, b",c\n"1","2"\n3,4\n5,6\n',
    "spaces": " 1, 2\n3 ,4\n 5,6e0\n",
}


@pytest.mark.parametrize("name", GOOD_CSV)
def test_a_csv_is_read_with_and_without_header(name):
    found = read_table(Path(write_csv(GOOD_CSV[name]).path)).rows
    np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6]])


def test_a_header_of_numbers_must_be_declared():
    numbered = write_csv("0,1,2\n4,5,6\n7,8,9\n1,1,1\n")
    with pytest.raises(DataError, match="dataset.header=true"):
        numbered.load()
    assert len(replace(numbered, header=True).table_of(Path("rows.csv"), Origin()).rows) == 3
    assert len(replace(numbered, header=False).table_of(Path("rows.csv"), Origin()).rows) == 4


BAD_CSV = {
    "missing": ("a,b\n1,2\n3,\n", r"found a missing value at line 3, column 'b'"),
    "nan": ("1,nan\n3,4\n", r"found a missing value at line 1, column 2"),
    "NA": ("1,2\n3,NA\nNA,1\n", r"at line 2, column 2; a missing value at line 3, column 1"),
    "inf": ("1,2\n3,-inf\n", r"found -inf at line 2, column 2"),
    "word": ("1,2\n3,four\n", r"line 2, column 2: expected a number, found 'four'"),
    "python number": ("1,2\n3,1_000\n", r"line 2, column 2: expected a number, found '1_000'"),
    "ragged": ("1,2\n3\n", r"line 2: expected 2 columns, found 1"),
    "ragged with header": ("a,b\n1,2\n3,4,5\n", r"line 3: expected 2 columns, found 3"),
    "blank line inside": ("1,2\n\n3,4\n", r"line 2: expected 2 columns, found 0"),
    "empty": ("", r"holds no rows"),
    "only line breaks": ("\n\n", r"holds no rows"),
    "all missing": (",\n,\n", r"found a missing value at line 1, column 1"),
    "only a header": ("a,b\n", r"holds no rows"),
    "not utf-8": (b"a,b\n1,\x81\n", r"cannot be read: .* codec can't decode byte 0x81"),
    "a nul byte": (b"1,2\n3,\x004\n", r"expected a number|cannot be read"),
    "an open quote": ('1,"2\n3,4\n', r"cannot be read: unexpected end of data"),
    "a giant cell": ("1," + "9" * 200_000 + "\n", r"cannot be read: field larger than"),
    "a long number": ("1," + "9" * 5000 + "\n", r"found inf at line 1, column 2"),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_a_csv_that_is_not_rows_of_numbers_is_refused_with_the_place(name):
    content, expected = BAD_CSV[name]
    with pytest.raises(DataError, match=expected) as refusal:
        write_csv(content).load()
    assert "rows.csv" in str(refusal.value)


# --- contracts ------------------------------------------------------------------------------------

CONTRACTS = [
    ("real", np.nan, "expected finite numbers, found a missing value at row 2, column 1"),
    ("real", -np.inf, "expected finite numbers, found -inf at row 2, column 1"),
    ("binary", 0.5, "expected only 0 and 1, found 0.5 at row 2, column 1"),
    ("binary", 255.0, "found 255.0 at row 2, column 1.*dataset.binarize=fixed"),
    ("binary", -1.0, "found -1.0"),
    ("unit", 1.5, "expected numbers from 0 to 1, found 1.5"),
    ("unit", -0.001, "found -0.001"),
    ("count", -2.0, "expected whole numbers from 0 to 16777216, found -2.0"),
    ("count", 1.5, "found 1.5"),
    ("count", 2.0**24 + 2, "found 16777218.0"),
]


@pytest.mark.parametrize(("support", "value", "expected"), CONTRACTS)
@pytest.mark.parametrize("name", ["rows.npy", "rows.npz"])
def test_a_value_outside_the_support_is_named(support, value, expected, name):
    rows = RANDOM.integers(0, 2, (10, 3)).astype(float)
    rows[2, 1] = value
    np.savez(name, rows) if name.endswith("z") else save(rows)
    with pytest.raises(DataError, match=f"{name}.*{expected}"):
        replace(PLAIN, path=name, support=support).load()


@pytest.mark.parametrize(
    "rows",
    [
        np.asarray([[0.0, -0.0], [1, 0], [1, 1]]),
        np.asarray([[True, False], [True, True], [False, True]]),
        np.asarray([[0, 1], [1, 0], [1, 1]], np.int8),
    ],
)
def test_every_way_to_write_bits_is_accepted(rows):
    save(rows)
    splits = replace(PLAIN, support="binary", shuffle=False).load()
    found = np.stack([PLAIN.view(row, 0, 0) for row in np.concatenate(splits[:3])])
    np.testing.assert_array_equal(found, rows.astype(float))


def test_only_the_first_places_are_listed():
    save(np.full((10, 3), np.nan))
    with pytest.raises(DataError, match="at row 0, column 2.*; and 27 more"):
        PLAIN.load()


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (5, 0)])
def test_what_is_no_table_is_refused(shape):
    save(np.zeros(shape))
    with pytest.raises(DataError, match="expected an array of rows"):
        PLAIN.load()


def test_fewer_rows_than_splits_are_refused():
    save(np.zeros((2, 3)))
    with pytest.raises(DataError, match="at least 3 rows"):
        PLAIN.load()


def test_a_file_that_is_not_there_is_named():
    kinds = "ends in .npy, .npz, .parquet, .mat, .h5ad, .mtx, .svm, .svmlight, .libsvm, .csv, .tsv"
    for name, expected in (("absent.npy", "there is no such file"), ("rows.xlsx", kinds)):
        with pytest.raises(ConfigError, match=expected):
            replace(PLAIN, path=name).load()
    save(REAL)
    with pytest.raises(ConfigError, match="leave out dataset.array=x"):
        replace(PLAIN, array="x").load()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"path": None}, "dataset.path="),
        ({"binarize": "fixed"}, "add dataset.support=binary"),
        ({"white": 0}, "white must be 1 or more"),
        ({"valid_fraction": 0.0}, "valid_fraction must lie between 0 and 1"),
        ({"test_fraction": 1.0}, "test_fraction must lie between 0 and 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, expected):
    with pytest.raises(ValueError, match=expected):
        replace(PLAIN, **change)


def test_new_observations_are_checked_like_training_rows():
    save(np.asarray([[0, 1, 1], [1, 0, 1]]))

    def seen(size):
        table = read_again(Path("rows.npy"), PLAINLY, None, None)
        return observations(table, "binary", size, "refuse")

    found = seen(3)
    assert found.tolist() == [[0, 1, 1], [1, 0, 1]]
    with pytest.raises(DataError, match="expected rows of 4 numbers, as in training; found 3"):
        seen(4)
    save(np.asarray([[0, 1, 7]]))
    with pytest.raises(DataError, match="found 7 at row 0, column 2"):
        seen(3)


def test_missing_values_become_a_mask_and_nothing_else_changes():
    rows = REAL.copy()
    rows[RANDOM.random(rows.shape) < 0.3] = np.nan
    save(rows)
    data = replace(PLAIN, missing="mask", shuffle=False)
    stored = np.concatenate(data.load()[:3])
    seen = ~np.isnan(rows)
    np.testing.assert_array_equal(stored[:, :, 0], seen)
    np.testing.assert_array_equal(stored[:, :, 1][seen], rows[seen])
    x = data.view(stored[5], 5, 0)
    np.testing.assert_array_equal(x["mask"], seen[5])
    assert np.isfinite(x["value"]).all()
    rows[2, 1] = np.inf
    save(rows)
    with pytest.raises(DataError, match="found inf at row 2, column 1"):
        data.load()
    with pytest.raises(ValueError, match="dataset.missing=refuse"):
        replace(data, support="binary", binarize="fixed")


@pytest.mark.parametrize(("support", "value"), [("positive", 0.5), ("count", 3.0), ("binary", 1.0)])
def test_a_missing_value_is_in_every_support_and_stored_as_zero(support, value):
    rows = np.full((20, 2), value)
    rows[4, 1] = np.nan
    save(rows)
    data = replace(PLAIN, missing="mask", shuffle=False, support=support)
    stored = np.concatenate(data.load()[:3])
    np.testing.assert_array_equal(stored[4], [[1, value], [0, 0]])
    again = data.rows_of(data.table_of(Path("rows.npy"), Origin()))
    np.testing.assert_array_equal(again[4], stored[4])


def test_a_first_line_that_may_be_names_is_what_it_was_in_training(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("1,2,3\n" + "0.25,0.5,0.125\n" * 4)
    with pytest.raises(DataError, match="dataset.header"):
        read_table(path)
    assert read_again(path, PLAINLY, None, None).rows.shape == (5, 3)
    with pytest.raises(DataError, match="a, b, c"):
        read_again(path, PLAINLY, None, ("a", "b", "c"))
