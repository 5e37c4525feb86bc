"""Rows of a file that stays on disk: read, and converted, as they are asked for.

A file above `MAPPED_BYTES` is mapped into memory: the system holds as much of it as there is room
for and drops what is not in use. What looks at all rows does so a block at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, Self

import numpy as np
from jaxtyping import Int, Integer

MAPPED_BYTES = 2**28  # of an array file: smaller ones are read into memory
BLOCK_BYTES = 2**24  # of rows read at a time
SPREAD_BYTES = 2**25  # of rows that stand for all where each would be too much

Convert = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows [n, ...] and their ids [n]


@dataclass(frozen=True, eq=False)
class Mapped:
    """Rows of a memory-mapped array, in an order of their own; an index reads and converts them."""

    source: np.ndarray  # [M, W], memory-mapped
    order: Integer[np.ndarray, " M"]  # of each id: the row of the source
    ids: Integer[np.ndarray, " N"]
    convert: tuple[Convert, ...] = ()  # one after the other

    @classmethod
    def of(cls, source: np.ndarray) -> Self:
        """Return the rows of a mapped array as the file has them, in the byte order of the machine.

        More than two axes are flattened to [M, W].
        """
        order = np.arange(len(source), dtype=np.min_scalar_type(len(source)))
        found = cls(source.reshape(len(source), -1), order, order)
        native = source.dtype.newbyteorder("=")
        if native == source.dtype:
            return found
        return found.converted(lambda rows, ids: rows.astype(native))

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return the rows at an index, in memory."""
        ids = self.ids[index]
        flat = np.ravel(ids)
        rows = self.source[self.order[flat]]
        for convert in self.convert:
            rows = convert(rows, flat)
        return rows.reshape(*np.shape(ids), *rows.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all rows, in memory."""
        del copy
        return self[:] if dtype is None else self[:].astype(dtype)

    @cached_property
    def _none(self) -> np.ndarray:
        return self[:0]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all rows as converted."""
        return len(self), *self._none.shape[1:]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._none.ndim

    @property
    def dtype(self) -> np.dtype:
        """Of the rows as converted."""
        return self._none.dtype

    @property
    def nbytes(self) -> int:
        """What all rows as converted would take in memory."""
        return len(self) * self.bytes_of_a_row

    @property
    def bytes_of_a_row(self) -> int:
        """What one row as converted takes in memory."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def converted(self, convert: Convert) -> Self:
        """Return the rows as `convert` makes them of these."""
        return replace(self, convert=(*self.convert, convert))

    def chosen(self, index: Any) -> Self:
        """Return the rows at an index, which stay on disk and keep their ids."""
        return replace(self, ids=self.ids[index])

    def ordered(self, order: Int[np.ndarray, " N"]) -> Self:
        """Return the rows in this order, with new ids from 0."""
        return replace(
            self, order=self.order[self.ids[order]], ids=np.arange(len(order), dtype=self.ids.dtype)
        )

    def in_file_order(self) -> Self:
        """Return the rows as they follow one another on disk."""
        return self.chosen(np.argsort(self.order[self.ids]))


Rows = np.ndarray | Mapped


def blocks(rows: Rows) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of a first row and the rows from there on: in memory all of them at once."""
    if not isinstance(rows, Mapped):
        yield 0, rows
        return
    size = max(1, BLOCK_BYTES // max(1, rows.source[:1].nbytes, rows.bytes_of_a_row))
    for first in range(0, len(rows), size):
        yield first, rows[first : first + size]


def total(rows: Rows, function: Callable[[np.ndarray], Any]) -> Any:
    """Return the sum of `function` of every block."""
    return reduce(np.add, (function(block) for _, block in blocks(rows)))


def every(rows: Rows, holds: Callable[[np.ndarray], Any]) -> bool:
    """Return whether `holds` is true of every value; the first block that has another ends it."""
    return all(bool(np.all(holds(block))) for _, block in blocks(rows))


def largest(rows: Rows) -> Any:
    """Return the largest value, NaN where one is missing."""
    return reduce(np.maximum, (block.max() for _, block in blocks(rows)))


def spread(rows: Rows) -> np.ndarray:
    """Return rows that stand for all, evenly spaced: in memory all of them."""
    if not isinstance(rows, Mapped):
        return rows
    number = min(len(rows), max(1, SPREAD_BYTES // max(1, rows.bytes_of_a_row)))
    return rows[np.linspace(0, len(rows) - 1, number).astype(np.int64)]


def column(rows: Rows, place: int) -> np.ndarray:
    """Return one column [N] of rows [N, W], in memory."""
    return np.concatenate([block[:, place] for _, block in blocks(rows)])


def converted(rows: Rows, function: Callable[[np.ndarray], np.ndarray]) -> Rows:
    """Return `function` of rows: of those on disk when they are read."""
    if isinstance(rows, Mapped):
        return rows.converted(lambda block, ids: function(block))
    return function(rows)


def chosen(rows: Any, index: Any) -> Any:
    """Return the rows at an index; those on disk stay there."""
    return rows.chosen(index) if isinstance(rows, Mapped) else rows[index]


def ordered(rows: Rows, order: Int[np.ndarray, " N"]) -> Rows:
    """Return rows in another order; those on disk stay there."""
    return rows.ordered(order) if isinstance(rows, Mapped) else rows[order]


def in_file_order(rows: Any) -> Any:
    """Return rows as they follow one another on disk; those in memory as they are."""
    return rows.in_file_order() if isinstance(rows, Mapped) else rows


def joined(parts: Sequence[Any]) -> Any:
    """Return the rows of all parts, one part after the other; those of one file stay on disk."""
    first = parts[0]
    if isinstance(first, Mapped) and all(
        isinstance(part, Mapped)
        and (part.source is first.source and part.order is first.order)
        and part.convert == first.convert
        for part in parts
    ):
        return replace(first, ids=np.concatenate([part.ids for part in parts]))
    return np.concatenate(parts)
