"""Rows of different lengths: stored end to end, read as padded rows."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Document:
    """A bag of words: term ids and their counts, padded with count 0.

    The size of the vocabulary is static, so that a model can make its parameters from one document.
    """

    ids: Int[Array, " W"] | Any  # as stored a `Ragged` column, as is counts
    counts: Float[Array, " W"] | Any
    num_terms: int = field(metadata={"static": True})  # V

    def unpacked(self) -> "Document":
        """Return a stored document as numbers to compute with."""
        ids, counts = jnp.asarray(self.ids, int), jnp.asarray(self.counts, float)
        return Document(ids, counts, self.num_terms)


@dataclass(frozen=True, eq=False)
class Ragged:
    """A column on the host whose rows have different lengths.

    An index gives padded rows, all as wide as the longest row of the column: what a row looks like
    does not depend on which others were asked for.
    """

    values: np.ndarray  # [L], all rows end to end
    starts: Int[np.ndarray, " N"]
    lengths: Int[np.ndarray, " N"]
    width: int  # of the longest row in any split

    @property
    def shape(self) -> tuple[int, int]:
        """(N, width), as if padded."""
        return len(self.lengths), self.width

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return self.values.nbytes + self.starts.nbytes + self.lengths.nbytes

    def __len__(self) -> int:
        """Return N."""
        return len(self.lengths)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return padded rows."""
        starts, lengths = self.starts[index], self.lengths[index]
        slots = np.arange(self.width)
        inside = slots < lengths[..., None]
        positions = np.where(inside, starts[..., None] + slots, 0)
        padded = self.values[positions] if len(self.values) else np.zeros(inside.shape, self.dtype)
        return np.where(inside, padded, 0).astype(self.dtype)

    def positions(self) -> Int[np.ndarray, " n"]:
        """Return where the values of the rows stand, row by row."""
        first = np.repeat(self.starts - np.cumsum(self.lengths) + self.lengths, self.lengths)
        return first + np.arange(len(first))

    def between(self, first: int, last: int) -> "Ragged":
        """Return rows `first` up to but not including `last`, as a column."""
        kept = slice(first, last)
        return Ragged(self.values, self.starts[kept], self.lengths[kept], self.width)
