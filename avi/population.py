"""The rows of a data set by split, number and id, and the choices among them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int, PyTree

from avi.settings import SPLITS, Split
from avi.types import Splits


class Points(NamedTuple):
    """Recorded rows as reports see them, and their ids."""

    rows: PyTree[np.ndarray]  # leading axis M
    ids: Int[np.ndarray, " M"]  # through the splits: training rows first

    def __len__(self) -> int:
        """Return M."""
        return len(self.ids)


def sizes_of(splits: Splits) -> dict[Split, int]:
    """Return the number of rows in each split."""
    return {name: len(jax.tree.leaves(getattr(splits, name))[0]) for name in SPLITS}


def choose(splits: Splits, split: Split, first: int, last: int) -> Points:
    """Return the rows first..last-1 of the split's recorded permutation, with their ids.

    A function of the split alone: every mode, seed and checkpoint is measured on the same rows, and
    more rows contain the fewer.
    """
    sizes = sizes_of(splits)
    number = SPLITS.index(split)
    order = np.random.default_rng(number).permutation(sizes[split])[first:last]
    offset = sum(sizes[name] for name in SPLITS[:number])
    return Points(jax.tree.map(lambda leaf: leaf[order], getattr(splits, split)), offset + order)


def chosen(points: Points, of_split: Sequence[Split], split: Split, limit: int) -> np.ndarray:
    """Return the positions of the first `limit` points of a split."""
    return np.flatnonzero(np.array(of_split) == split)[:limit]


def rows_at(points: Points, index: np.ndarray) -> Points:
    """Return the points at some positions."""
    return Points(jax.tree.map(lambda leaf: leaf[index], points.rows), points.ids[index])
