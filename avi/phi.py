"""Where phi lives: shared by all datapoints, or one row of a table for each.

The training step gathers the batch's rows of phi and of their optimiser state, differentiates only
those and puts them back in place: its cost is O(batch), never O(N), and other rows do not move by a
bit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Int, PyTree

from avi.abilities import Bindable
from avi.types import Family, Inference


class Rows(NamedTuple):
    """How the step reads and writes phi and its optimiser state."""

    axis: int | None  # of vmap over phi
    take: Callable[[PyTree, Int[Array, " B"]], PyTree]
    put: Callable[[PyTree, Int[Array, " B"], PyTree], PyTree]
    each: Callable[[optax.GradientTransformation], optax.GradientTransformation]
    rescale: Callable[[PyTree, int], PyTree]  # the gradient of the batch's mean bound


def take(tree: PyTree, index: Int[Array, " B"]) -> PyTree:
    """Return the rows `index` of every leaf."""
    return jax.tree.map(lambda leaf: leaf.at[index].get(mode="promise_in_bounds"), tree)


def _put(tree: PyTree, index: Int[Array, " B"], rows: PyTree) -> PyTree:
    def write(leaf: Array, row: Array) -> Array:
        return leaf.at[index].set(row, mode="promise_in_bounds", unique_indices=True)

    return jax.tree.map(write, tree, rows)


def _each_row(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.GradientTransformation(jax.vmap(optimizer.init), jax.vmap(optimizer.update))


def _times_batch(gradient: PyTree, batch_size: int) -> PyTree:
    # A row maximises its own bound, not 1/B of it.
    return jax.tree.map(lambda leaf: leaf * batch_size, gradient)


SHARED = Rows(
    axis=None,
    take=lambda tree, index: tree,
    put=lambda tree, index, rows: rows,
    each=lambda optimizer: optimizer,
    rescale=lambda gradient, batch_size: gradient,
)
TABLE = Rows(axis=0, take=take, put=_put, each=_each_row, rescale=_times_batch)


def is_amortized(inference: Inference, phi: PyTree) -> bool:
    """Whether an encoder computes lam: phi is shared by all datapoints, and there is some."""
    return not inference.per_datapoint and bool(jax.tree.leaves(phi))


def bind(optimizer: Any, family: Family) -> optax.GradientTransformation:
    """Return `optimizer` as an optax transformation of this family's lam."""
    return optimizer.bind(family) if isinstance(optimizer, Bindable) else optimizer
