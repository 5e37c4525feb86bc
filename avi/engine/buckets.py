"""Rows of different lengths: stored end to end, read as padded rows, batched by length.

Memory is proportional to what the rows hold. A batch is as wide as its bucket of lengths, of which
there are at most four: one compilation each, and little padding.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from avi.engine.placement import ONE, Placement
from avi.ragged import Ragged

MOST_BUCKETS = 4
CANDIDATES = 64  # places where a bucket may end


class Packed(NamedTuple):
    """A ragged column on the device."""

    values: Array  # [L + 1]
    starts: Int[Array, " N"]
    lengths: Int[Array, " N"]


class Buckets(NamedTuple):
    """How batches are made of rows of different lengths."""

    lengths: Int[Array, " N"]
    ends: tuple[int, ...]  # batches of an epoch up to the end of each bucket
    widths: tuple[int, ...]  # slots that hold every row of the bucket


def place(rows: PyTree, placement: Placement = ONE) -> PyTree:
    """Return the rows on the devices, ragged columns packed."""

    def put(leaf: Any) -> Array:
        return placement.put(placement.padded(leaf), placement.cut)

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, Ragged):
            return put(np.asarray(leaf))
        values = np.append(leaf.values, leaf.values.dtype.type(0))  # never empty
        return Packed(*map(put, (values, leaf.starts, leaf.lengths)))

    return jax.tree.map(one, rows)


def take(rows: PyTree, index: Int[Array, " B"], width: int | None) -> PyTree:
    """Return the rows `index` of placed rows; those of packed columns `width` wide."""

    def one(leaf: Any) -> Array:
        if not isinstance(leaf, Packed):
            return leaf.at[index].get(mode="promise_in_bounds")
        slots = jnp.arange(width)
        inside = slots < leaf.lengths[index][:, None]
        positions = jnp.where(inside, leaf.starts[index][:, None] + slots, 0)
        return jnp.where(inside, leaf.values[positions], 0)

    return jax.tree.map(one, rows, is_leaf=lambda node: isinstance(node, Packed))


def make_buckets(rows: PyTree, batch_size: int) -> Buckets | None:
    """Return the buckets of these rows on the host, or None where all rows have one length.

    Every bucket is a whole number of batches, so that a batch comes from a bucket with probability
    exactly proportional to its size and each row is in a batch with the same probability.
    """
    columns = [leaf for leaf in jax.tree.leaves(rows) if isinstance(leaf, Ragged)]
    if not columns:
        return None
    lengths = columns[0].lengths
    ascending = np.sort(lengths)
    num_batches, left_out = divmod(len(lengths), batch_size)
    ends = np.unique(np.linspace(0, num_batches, min(num_batches, CANDIDATES) + 1).astype(int)[1:])
    # Rows left out of an epoch are drawn at random: up to `left_out` longer rows may move up.
    last = np.minimum(ends * batch_size - 1 + left_out, len(lengths) - 1)
    chosen = _cheapest(ends, np.maximum(ascending[last], 1))
    widths = np.maximum(ascending[last[chosen]], 1)
    return Buckets(jnp.asarray(lengths), tuple(ends[chosen].tolist()), tuple(widths.tolist()))


def _cheapest(ends: np.ndarray, widths: np.ndarray) -> list[int]:
    """Return which of `ends` close a bucket such that the padded slots are fewest."""
    number = len(ends)
    cost = ends * widths.astype(float)  # of one bucket up to each end
    back = np.full((MOST_BUCKETS, number), -1)
    for level in range(1, MOST_BUCKETS):
        options = cost[:, None] + (ends[None, :] - ends[:, None]) * widths[None, :]
        options[np.tril_indices(number)] = np.inf
        best = options.argmin(0)
        better = options.min(0) < cost
        back[level] = np.where(better, best, -1)
        cost = np.where(better, options.min(0), cost)
    return _trace(back, number - 1)


def _trace(back: np.ndarray, last: int) -> list[int]:
    chosen, level = [last], len(back) - 1
    while level > 0:
        before = back[level, chosen[0]]
        if before >= 0:
            chosen.insert(0, int(before))
        level -= 1
    return chosen


def by_length(key: Array, rows: Int[Array, " n"], buckets: Buckets, batch_size: int) -> Array:
    """Return `rows`, a random order, as batches each from one bucket, in random order."""
    within_key, batch_key = jax.random.split(key)
    ascending = rows[jnp.argsort(buckets.lengths[rows])]
    ends = jnp.asarray(buckets.ends) * batch_size
    bucket = jnp.searchsorted(ends, jnp.arange(len(rows)), side="right")
    shuffled = jnp.lexsort((jax.random.uniform(within_key, rows.shape), bucket))
    batches = ascending[shuffled].reshape(-1, batch_size)
    return jax.random.permutation(batch_key, batches).ravel()
