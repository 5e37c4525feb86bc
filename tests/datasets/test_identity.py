"""The identity of a data set's rows: what a run is held to."""

import numpy as np
import pytest

from avi.datasets import base
from avi.datasets.base import splits_sha256
from avi.engine.feed import mapped
from avi.ragged import Document, Ragged
from avi.types import Splits

ROWS = np.arange(24, dtype=np.float32).reshape(8, 3)


def plain(rows=ROWS):
    return Splits(rows[:5], rows[5:6], rows[6:])


def documents(ids=(0, 1, 1, 2, 0), lengths=(2, 3), width=3, words=("a", "b", "c")):
    values, lengths = np.array(ids, np.uint16), np.array(lengths)
    starts = np.cumsum(lengths) - lengths
    column = Ragged(values, starts, lengths, width)
    counts = Ragged(np.ones(len(values), np.uint8), starts, lengths, width)
    rows = Document(column, counts, num_terms=3)
    return Splits(rows, rows, rows, vocabulary=words)


def changed(number, value):
    rows = ROWS.copy()
    rows[number] = value
    return rows


def test_equal_rows_have_one_identity_wherever_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "BLOCK_BYTES", 24)  # two rows at a time
    for splits in (plain(), documents()):
        on_disk = splits._replace(train=mapped(splits.train, tmp_path))
        assert splits_sha256(on_disk) == splits_sha256(splits)
    assert splits_sha256(plain(np.asfortranarray(ROWS))) == splits_sha256(plain())
    assert splits_sha256(plain()._replace(labels={"train": ROWS})) == splits_sha256(plain())


@pytest.mark.parametrize(
    "other",
    [
        plain(changed((0, 0), 0.5)),
        plain(changed((7, 2), 0.5)),  # the last test row
        plain(ROWS[::-1]),
        plain(ROWS.astype(np.float64)),
        plain(ROWS.reshape(8, 3, 1)),
        Splits(ROWS[:4], ROWS[4:6], ROWS[6:]),
    ],
    ids=["first", "last", "order", "dtype", "shape", "cut"],
)
def test_any_change_of_rows_changes_their_identity(other):
    assert splits_sha256(other) != splits_sha256(plain())


@pytest.mark.parametrize(
    "other",
    [
        documents(ids=(0, 1, 1, 2, 1)),
        documents(lengths=(3, 2)),
        documents(width=4),
        documents(words=("a", "c", "b")),
    ],
    ids=["terms", "lengths", "width", "words"],
)
def test_any_change_of_documents_changes_their_identity(other):
    assert splits_sha256(other) != splits_sha256(documents())
