"""What every data set shares: splits, the recorded view, and what a model may know beforehand."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from avi.datasets.binarize import RECORDED, Pixels
from avi.errors import ConfigError
from avi.mapped import BLOCK_BYTES, chosen, in_file_order
from avi.process.grammar import many
from avi.ragged import Ragged
from avi.types import Dataset, DataSpec, Splits, Support, X

Sizes = tuple[int, int, int]  # rows of train, valid and test

CHUNK = 1000  # rows viewed at a time


@dataclass(frozen=True)
class Recorded:
    """The view of reports for data that are redrawn: the one draw per row that the seed records."""

    dataset: Dataset

    redraws: ClassVar[bool] = False

    @property
    def support(self) -> Support:
        """As drawn."""
        return self.dataset.support

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """As drawn."""
        return self.dataset.image_shape

    def load(self) -> Splits:
        """Return the same stored rows."""
        return self.dataset.load()

    def view(self, row: PyTree, index: Int[Array, ""], visit: Int[Array, ""]) -> X:
        """Return the recorded draw of the row, whatever the visit."""
        del visit
        return self.dataset.view(row, index, jnp.int32(RECORDED))

    def fixed(self) -> Dataset:
        """Return itself."""
        return self


def fixed(dataset: Dataset) -> Dataset:
    """Return the view of `dataset` that reports score; it reads the rows that `dataset` stores."""
    return Recorded(dataset) if dataset.redraws else dataset


def cut(rows: Any, sizes: Sizes) -> tuple[Any, Any, Any]:
    """Return train, valid and test rows, in this order along the first axis."""
    train, valid, test = sizes
    ends = np.cumsum((0, train, valid, test)).tolist()
    first, second, third = (chosen(rows, slice(*of)) for of in pairwise(ends))
    return first, second, third


def sizes_of(num_rows: int, num_valid: int, num_test: int) -> Sizes:
    """Return the sizes of train, valid and test, each at least one row."""
    num_train = num_rows - num_valid - num_test
    if min(num_train, num_valid, num_test) < 1:
        raise ConfigError(
            f"{many(num_rows, 'row')} cannot be split into {num_valid} for validation, "
            f"{num_test} for testing and the rest for training: each of the three needs at least 1."
        )
    return num_train, num_valid, num_test


def permutation(num_rows: int, seed: int) -> Int[np.ndarray, " N"]:
    """Return a shuffled order; the stream of this generator is frozen across versions of numpy."""
    return np.random.RandomState(seed).permutation(num_rows)


def image_splits(
    grey: np.ndarray, labels: np.ndarray | None, sizes: Sizes, pixels: Pixels
) -> Splits:
    """Return the splits of grey rows [N, D] that are in the order train, valid, test."""
    train, valid, test = cut(pixels.store(grey, np.arange(len(grey))), sizes)
    if labels is None:
        return Splits(train, valid, test)
    names = ("train", "valid", "test")
    return Splits(train, valid, test, dict(zip(names, cut(labels, sizes), strict=True)))


def content_sha256(array: np.ndarray) -> str:
    """Return the identity of an array: the SHA-256 of its bytes in C order."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def splits_sha256(splits: Splits) -> str:
    """Return the identity of all rows as stored: order, dtypes, shapes and bytes, and the words.

    The same whether they are in memory or memory-mapped, of which a block is read at a time.
    """
    digest = hashlib.sha256(repr(splits.vocabulary).encode())
    for leaf in jax.tree.leaves((splits.train, splits.valid, splits.test)):
        columns = (leaf.values, leaf.starts, leaf.lengths) if isinstance(leaf, Ragged) else (leaf,)
        digest.update(repr((leaf.dtype.str, leaf.shape)).encode())
        for column in columns:
            size = max(1, BLOCK_BYTES // max(1, column[:1].nbytes))
            for start in range(0, len(column), size):
                block = np.ascontiguousarray(column[start : start + size])
                digest.update(block.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def describe(dataset: Dataset, splits: Splits) -> DataSpec:
    """Return what a model may know of its data: mean and sample of x, as reports see it."""
    view = dataset.fixed().view
    rows = splits.train
    num_data = len(jax.tree.leaves(rows)[0])
    look = jax.jit(jax.vmap(view, in_axes=(0, 0, None)))
    spread = np.linspace(0, num_data - 1, min(CHUNK, num_data)).astype(np.int32)
    sample = look(jax.tree.map(lambda leaf: leaf[spread], rows), spread, jnp.int32(0))
    total = None
    for start in range(0, num_data, CHUNK):
        index = np.minimum(np.arange(start, start + CHUNK), num_data - 1).astype(np.int32)
        seen = look(jax.tree.map(lambda leaf, index=index: leaf[index], rows), index, jnp.int32(0))
        kept = min(CHUNK, num_data - start)
        sums = jax.tree.map(lambda x, kept=kept: np.asarray(x)[:kept].sum(0, np.float64), seen)
        if total is None:
            total = sums
        else:
            total = jax.tree.map(np.add, total, sums)
    example = jax.tree.map(lambda x: x[0], sample)
    mean = jax.tree.map(lambda x: jnp.asarray(x / num_data, float), total)
    return DataSpec(example, mean, dataset.support, num_data, sample)


def repeated_rows(splits: Splits) -> int:
    """Return how many test rows, as stored, are also training rows."""
    held_out = Counter(_digests(splits.test))
    found = {digest for digest in _digests(splits.train) if digest in held_out}
    return sum(held_out[digest] for digest in found)


def _digests(rows: PyTree[np.ndarray]) -> Iterator[bytes]:
    """Yield what tells the rows apart, in the order that is read fastest."""
    leaves = [in_file_order(leaf) for leaf in jax.tree.leaves(rows)]
    for start in range(0, len(leaves[0]), CHUNK):
        parts = [leaf[start : start + CHUNK] for leaf in leaves]
        for number in range(len(parts[0])):
            content = b"".join(part[number].tobytes() for part in parts)
            yield hashlib.blake2b(content, digest_size=16).digest()
