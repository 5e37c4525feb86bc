"""The rows of a data set by split, number and id, and the choices among them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int, PyTree

from avi.errors import ConfigError
from avi.mapped import chosen as chosen_rows
from avi.mapped import joined as joined_rows
from avi.process.grammar import verb
from avi.rundir.bounded import read_bounded
from avi.settings import SPLITS, Split
from avi.types import Splits

MOST_NAMED = 10_000_000  # rows of one report, each of which is searched


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
    rows = jax.tree.map(lambda leaf: chosen_rows(leaf, order), getattr(splits, split))
    return Points(rows, offset + order)


def named(splits: Splits, rows: str | int) -> dict[Split, Points]:
    """Return the rows that a person names, by the split that they are in.

    Args:
        splits: the data.
        rows: by the user's own numbers: one, a range `first:end`, or a file of them.

    Raises:
        ConfigError: it is none of these, or there is no such row.
    """
    wanted, sizes = _numbers(str(rows)), sizes_of(splits)
    own = splits.origin.rows_of(np.arange(sum(sizes.values())))
    if len(strange := np.setdiff1d(wanted, own)):
        raise ConfigError(
            f"gap.rows={rows}: there is no row {strange[0]} among these data, whose rows are "
            f"{own.min()} to {own.max()}; {len(strange)} of {len(wanted)} "
            f"{verb(len(strange), 'are')} not there."
        )
    found, offset = {}, 0
    for split, size in sizes.items():
        place = np.flatnonzero(np.isin(own[offset : offset + size], wanted))
        if len(place):
            stored = getattr(splits, split)
            found[split] = Points(
                jax.tree.map(lambda leaf, place=place: chosen_rows(leaf, place), stored),
                offset + place,
            )
        offset += size
    return found


def _numbers(rows: str) -> np.ndarray:
    """Return the numbers of a range, or those in a file."""
    bounds = re.fullmatch(r"(\d{1,18})(?::(\d{1,18}))?", rows)
    if bounds is not None:
        first = int(bounds[1])
        last = int(bounds[2]) if bounds[2] else first + 1
        if last - first > MOST_NAMED:
            raise ConfigError(f"gap.rows={rows}: expected {MOST_NAMED} rows at most.")
        numbers = np.arange(first, last)
    else:
        try:
            words = read_bounded(Path(rows).expanduser()).decode().replace(",", " ").split()
            numbers = np.array([int(word) for word in words], np.int64)
        except (FileNotFoundError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"gap.rows={rows}: expected a range such as 0:1000, or a file of row numbers."
            ) from error
    if not len(numbers) or len(set(numbers.tolist())) < len(numbers):
        raise ConfigError(f"gap.rows={rows} names no row, or one twice.")
    return numbers


def chosen(points: Points, of_split: Sequence[Split], split: Split, limit: int) -> np.ndarray:
    """Return the positions of the first `limit` points of a split."""
    return np.flatnonzero(np.array(of_split) == split)[:limit]


def rows_at(points: Points, index: np.ndarray) -> Points:
    """Return the points at some positions."""
    rows = jax.tree.map(lambda leaf: chosen_rows(leaf, index), points.rows)
    return Points(rows, points.ids[index])


def joined(parts: Sequence[Points]) -> Points:
    """Return the points of all parts, one part after the other."""
    rows = jax.tree.map(lambda *leaves: joined_rows(leaves), *(part.rows for part in parts))
    return Points(rows, np.concatenate([part.ids for part in parts]))


def in_turn(of_each: Mapping[Split, Points]) -> tuple[Points, list[Split]]:
    """Return the points of all splits, one of each in turn, and the split of every one."""
    of_split = [split for split, points in of_each.items() for _ in points.ids]
    rank = np.concatenate([np.arange(len(points)) for points in of_each.values()])
    order = np.argsort(rank, kind="stable")
    return rows_at(joined(list(of_each.values())), order), [of_split[place] for place in order]
