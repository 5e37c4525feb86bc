"""Pytrees survive the way through names, and differences are listed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from avi.errors import CheckpointError
from avi.rundir.trees import flatten_tree, unflatten_like


class State(NamedTuple):
    step: jax.Array
    params: dict
    opt_state: tuple


def make_state(width: int = 3) -> State:
    params = {"mlp": {"kernel": jnp.arange(2.0 * width).reshape(2, width)}, "bias": jnp.ones(2)}
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.constant_schedule(1.0))
    )
    return State(jnp.asarray(4, jnp.int32), params, optimizer.init(params))


def test_a_training_state_comes_back_equal_and_strongly_typed() -> None:
    state = make_state()
    arrays = flatten_tree(state)
    assert ".params['mlp']['kernel']" in arrays
    assert all(type(array) is np.ndarray for array in arrays.values())
    restored = jax.tree.map(jnp.asarray, unflatten_like(state, arrays))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for found, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert found.dtype == expected.dtype
        assert not found.weak_type
        np.testing.assert_array_equal(found, expected)


def test_shapes_alone_are_enough_to_restore() -> None:
    state = make_state()
    shapes = jax.eval_shape(lambda: make_state())
    restored = unflatten_like(shapes, flatten_tree(state))
    np.testing.assert_array_equal(restored.params["bias"], state.params["bias"])


def test_a_part_is_restored_by_its_prefix() -> None:
    state = make_state()
    params = unflatten_like(state.params, flatten_tree(state), prefix=".params")
    np.testing.assert_array_equal(params["mlp"]["kernel"], state.params["mlp"]["kernel"])


def test_differences_are_listed_and_at_most_five() -> None:
    arrays = flatten_tree(make_state(width=3))
    with pytest.raises(CheckpointError) as refusal:
        unflatten_like(make_state(width=4).params, arrays, prefix=".params")
    assert str(refusal.value).splitlines()[1:] == [
        "  .params['mlp']['kernel']: the checkpoint has float32[2, 3], this run needs float32[2, 4]"
    ]
    many = {f"x{number}": jnp.zeros(1) for number in range(9)}
    with pytest.raises(CheckpointError, match="and 4 more"):
        unflatten_like(many, {})
    with pytest.raises(
        CheckpointError, match=r"the checkpoint has int32\[\], this run needs nothing"
    ):
        unflatten_like({}, {".step": np.asarray(4, np.int32)})
