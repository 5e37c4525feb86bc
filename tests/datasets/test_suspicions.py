"""What looks like a mistake is named; what does not is left in peace."""

from dataclasses import replace

import numpy as np
import pytest
from datasets.test_file import PLAIN

from avi.datasets.suspicions import suspicions
from avi.datasets.tables import Table
from avi.errors import DataError

RANDOM = np.random.default_rng(1)
ROWS = RANDOM.standard_normal((60, 3))


def said(rows, support="real", single=True, columns=None):
    return " ".join(suspicions(Table(rows, "mine", columns), support, single=single))


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        ROWS * [1e-3, 1, 1e6] + [0, 10, 3e6],
        RANDOM.standard_t(2, (500, 4)),
        RANDOM.lognormal(0, 1.5, (500, 4)),
        RANDOM.integers(0, 2, (50, 20)),
        np.column_stack([RANDOM.permutation(60), ROWS]),
    ],
    ids="normal scales t lognormal bits permutation".split(),
)
def test_ordinary_tables_are_left_in_peace(rows):
    assert said(rows) == ""


@pytest.mark.parametrize("value", [-999, -9999, 999, 9.57e14])
@pytest.mark.parametrize("share", [1, 12])
def test_codes_and_damaged_cells_are_named(value, share):
    rows = ROWS.copy()
    rows[7 : 7 + share, 1] = value
    words = said(rows, columns=("a", "b", "c"))
    assert f"{value:g} at row 7, column 'b'" in words
    assert "dataset.missing=mask" in words


def test_a_large_common_offset_is_too_much_for_single_precision():
    rows = ROWS + [0, 2e6, 0]
    assert "column 1" in said(rows)
    assert "precision=float64" in said(rows)
    assert said(rows, single=False) == ""


def test_values_beyond_the_range_of_single_precision_are_named():
    assert "precision=float64" in said(ROWS * [1, 1e300, 1])


@pytest.mark.parametrize("first", [0, 1])
def test_an_index_is_named(first):
    rows = np.column_stack([ROWS, first + np.arange(60)])
    assert "column 3 counts the rows" in said(rows)


def test_bytes_that_look_like_images_are_named():
    images = RANDOM.integers(0, 256, (20, 64)).astype(np.uint8)
    assert "dataset.white=255" in said(images)
    assert said(images, support="count") == ""


def test_white_over_values_that_are_scaled_already_is_refused(tmp_path):
    np.save(tmp_path / "grey.npy", RANDOM.uniform(size=(20, 4)))
    scaled = replace(PLAIN, path=str(tmp_path / "grey.npy"), support="unit", white=255)
    with pytest.raises(DataError, match=r"Say dataset\.white=1"):
        scaled.load()
    assert replace(scaled, white=1).load().train.max() <= 1
