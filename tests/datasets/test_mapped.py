"""Files that stay on disk: read a block at a time, they are what they are in memory."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from avi import mapped
from avi.cli import main
from avi.contracts.dataset import claims
from avi.datasets import formats
from avi.datasets.base import describe, repeated_rows, splits_sha256
from avi.datasets.file import File
from avi.datasets.formats import load_array
from avi.datasets.tables import read_table
from avi.errors import DataError
from avi.mapped import Mapped
from avi.population import choose, in_turn, named
from avi.rundir import RunDir, checkpoints
from avi.settings import SPLITS

RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((60, 5)) * [1, 1, 1e-3, 1, 1] + [0, 0, 1e6, 0, 7]
REAL[17, 3], REAL[31, 0], REAL[44, 1] = -999, 1e4, -999
REAL[5] = REAL[41]
LACKING = np.where(RANDOM.random((60, 5)) < 0.2, np.nan, REAL)
COUNTS = RANDOM.poisson(1.0, (60, 17))
GREY = RANDOM.integers(0, 256, (60, 4, 5), dtype=np.uint8)
NUMBERED = np.column_stack([np.arange(60), REAL, np.arange(60) % 3])
FILE = File(
    path="rows.npy",
    array=None,
    header=None,
    support="real",
    white=1,
    missing="refuse",
    binarize="none",
    binarize_seed=3,
    image_shape=None,
    valid_fraction=0.1,
    test_fraction=0.2,
    shuffle=True,
    split_seed=0,
    columns=None,
    standardize="columns",
)
CASES = {
    "measurements": (FILE, REAL),
    "single": (FILE, REAL.astype(np.float32)),
    "big_endian": (FILE, REAL.astype(">f8")),
    "in_order": (replace(FILE, shuffle=False), REAL),
    "counts": (replace(FILE, support="count"), COUNTS),
    "counts_taken_for_real": (FILE, COUNTS),
    "bytes_taken_for_real": (FILE, RANDOM.integers(0, 256, (60, 17), dtype=np.uint8)),
    "bits": (replace(FILE, support="binary", binarize="fixed", white=255), GREY),
    "fresh_bits": (replace(FILE, support="binary", binarize="dynamic", white=255), GREY),
    "grey": (replace(FILE, support="unit", white=255, image_shape=(4, 5)), GREY),
    "lacking": (replace(FILE, missing="mask"), LACKING),
    "codes": (replace(FILE, missing=(-999.0,)), REAL),
    "columns": (replace(FILE, label=6, drop=(2,)), NUMBERED),
}


@pytest.fixture
def on_disk(monkeypatch):
    """Return a function after which every array file stays on disk and is read in small blocks."""

    def lower():
        monkeypatch.setattr(formats, "MAPPED_BYTES", 0)
        monkeypatch.setattr(formats, "ORDER_BYTES", 0)
        monkeypatch.setattr(mapped, "BLOCK_BYTES", 300)

    return lower


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_a_file_on_disk_is_what_it_is_in_memory(case, on_disk):
    dataset, rows = CASES[case]
    np.save("rows.npy", rows)
    expected = dataset.load()
    on_disk()
    found = dataset.load()
    assert all(isinstance(part, Mapped) for part in found[:3])
    assert not any(isinstance(part, Mapped) for part in expected[:3])
    for split in SPLITS:
        whole, part = getattr(expected, split), getattr(found, split)
        assert (part.shape, part.dtype, part.nbytes) == (whole.shape, whole.dtype, whole.nbytes)
        np.testing.assert_array_equal(part, whole)
        np.testing.assert_array_equal(part[3:1:-1], whole[3:1:-1])
        np.testing.assert_array_equal(part[0], whole[0])
    assert splits_sha256(found) == splits_sha256(expected)
    assert (found.remarks, found.understood) == (expected.remarks, expected.understood)
    assert repeated_rows(found) == repeated_rows(expected)
    jax.tree.map(np.testing.assert_array_equal, found.scale, expected.scale)
    jax.tree.map(np.testing.assert_array_equal, found.labels, expected.labels)
    np.testing.assert_array_equal(found.origin.rows, expected.origin.rows)
    of_found, of_expected = describe(dataset, found), describe(dataset, expected)
    jax.tree.map(np.testing.assert_array_equal, of_found.mean, of_expected.mean)
    assert all(claim.holds for claim in claims(dataset))


@pytest.mark.parametrize(
    ("dataset", "value"),
    [
        (FILE, np.nan),
        (FILE, np.inf),
        (replace(FILE, support="positive"), -1.0),
        (replace(FILE, support="unit"), 1.5),
    ],
)
def test_what_is_wrong_on_disk_is_said_as_in_memory(dataset, value, on_disk):
    rows = RANDOM.uniform(0.1, 1.0, (60, 5))
    rows[[2, 20, 21, 50, 59], [1, 2, 3, 4, 0]] = value
    np.save("rows.npy", rows)
    with pytest.raises(DataError) as in_memory:
        dataset.load()
    on_disk()
    with pytest.raises(DataError, match=re.escape(str(in_memory.value))):
        dataset.load()


def test_points_of_a_file_stay_on_disk_until_they_are_looked_at(on_disk):
    np.save("rows.npy", REAL)
    expected = FILE.load()
    on_disk()
    found = FILE.load()
    of_each = [
        in_turn({split: choose(splits, split, 1, 4) for split in SPLITS})[0]
        for splits in (found, expected)
    ]
    assert isinstance(of_each[0].rows, Mapped)
    np.testing.assert_array_equal(of_each[0].rows, of_each[1].rows)
    some = [named(splits, "7:9") for splits in (found, expected)]
    for split, points in some[0].items():
        np.testing.assert_array_equal(points.rows, some[1][split].rows)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_stays_on_disk_unless_it_is_packed(compressed, on_disk):
    save = np.savez_compressed if compressed else np.savez
    save("rows.npz", a=GREY, b=REAL)
    on_disk()
    found = load_array(Path("rows.npz"), "b")
    assert isinstance(found, Mapped) is not compressed
    np.testing.assert_array_equal(found, REAL)


def test_rows_that_do_not_follow_one_another_are_read_into_memory(on_disk):
    on_disk()
    for name, rows in {"columns": np.asfortranarray(REAL), "line": REAL[:, 0]}.items():
        np.save(f"{name}.npy", rows)
        found = load_array(Path(f"{name}.npy"), None)
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, rows)


def test_an_archive_that_points_elsewhere_is_refused(on_disk):
    np.savez("rows.npz", a=REAL)
    content = Path("rows.npz").read_bytes()
    (member,) = zipfile.ZipFile("rows.npz").infolist()
    assert member.header_offset == 0
    Path("rows.npz").write_bytes(b"PK\x03\x05" + content[4:])
    on_disk()
    with pytest.raises(DataError, match="points where nothing begins"):
        load_array(Path("rows.npz"), None)


def test_a_file_larger_than_the_memory_is_read_where_its_rows_are_looked_at(monkeypatch):
    np.lib.format.open_memmap("rows.npy", "w+", np.float32, (1000, 64))[:] = 0
    monkeypatch.setattr(formats, "MAPPED_BYTES", 1000)
    monkeypatch.setattr(formats, "byte_limit", lambda: 100_000)
    assert read_table(Path("rows.npy")).rows.shape == (1000, 64)
    monkeypatch.setattr(formats, "byte_limit", lambda: 63_999)  # what their order takes
    with pytest.raises(DataError, match="it needs 256000 bytes, more than a quarter of the memory"):
        read_table(Path("rows.npy"))


TRAIN = (
    "train model=linear_gaussian dataset=file dataset.path=rows.npy inference=amortized "
    "train.epochs=2 train.batch_size=8 train.log_every=1 train.report=false gap.num_points=0 "
    "model.latent_size=2 dataset.device_budget=1500"
)


def test_a_run_on_a_file_on_disk_is_the_run_in_memory_to_the_bit(on_disk):
    np.save("rows.npy", NUMBERED)
    ends = []
    for name in ("memory", "disk"):
        assert main.run([*TRAIN.split(), f"output={name}"]) == 0
        for rows in ("split=train", "data=rows.npy"):
            assert main.run(["infer", f"run={name}", rows, "certify=false"]) == 0
        state = checkpoints.load(RunDir.open(Path(name))).arrays
        read = RunDir.open(Path(name)).read_run()
        infer = [np.load(f"{name}/infer/{of}/posterior.npz") for of in ("train", "rows")]
        ends.append((read["data_sha256"], state, [dict(one) for one in infer]))
        on_disk()
    assert ends[0][0] == ends[1][0]
    jax.tree.map(np.testing.assert_array_equal, ends[0][1:], ends[1][1:])
