"""Multilayer perceptrons, written with Flax NNX and used as two plain functions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from avi.types import PRNGKey, X

Activation = Literal["tanh", "relu", "softplus", "gelu", "elu", "silu"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "silu": jax.nn.silu,
}


class _Layers(nnx.Module):
    def __init__(self, sizes: tuple[int, ...], activation: str, rngs: nnx.Rngs) -> None:
        for number, (before, after) in enumerate(pairwise(sizes)):
            # flax would make float32 parameters under precision=float64 too.
            layer = nnx.Linear(before, after, param_dtype=jnp.result_type(float), rngs=rngs)
            setattr(self, f"layer{number}", layer)
        self.depth = len(sizes) - 1
        self.activation = activation

    def __call__(self, values: Array) -> Array:
        for number in range(self.depth):
            values = getattr(self, f"layer{number}")(values)
            if number < self.depth - 1:
                values = ACTIVATIONS[self.activation](values)
        return values


@lru_cache
def _graph(sizes: tuple[int, ...], activation: str) -> nnx.GraphDef:
    return nnx.split(nnx.eval_shape(lambda: _Layers(sizes, activation, nnx.Rngs(0))))[0]


@dataclass(frozen=True)
class MLP:
    """Dense layers of the given widths on the flattened x; no widths: an affine map.

    Weights start as flax does (LeCun normal), hidden biases at zero, and the output layer at
    `output_scale` times that around the given output bias: an encoder with a small scale begins
    near the start of its family.
    """

    widths: tuple[int, ...]
    activation: Activation
    output_scale: float

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths must all be 1 or more; got {list(self.widths)}.")

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        return {} if self.widths else {"activation": "an affine map has no hidden layers."}

    def init(self, key: PRNGKey, x: X, output_bias: Float[Array, " num_outputs"]) -> dict[str, Any]:
        """Return the weights as a dict of dicts of arrays, for inputs like `x`."""
        layers = _Layers(self._sizes(x, output_bias.size), self.activation, nnx.Rngs(key))
        params = nnx.to_pure_dict(nnx.state(layers, nnx.Param))
        last = f"layer{len(self.widths)}"
        kernel = params[last]["kernel"] * self.output_scale
        return params | {last: {"kernel": kernel, "bias": output_bias}}

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " num_outputs"]:
        """Return the outputs for one x."""
        graph = _graph(self._sizes(x, num_outputs), self.activation)
        return nnx.merge(graph, nnx.State(params))(ravel_pytree(x)[0])

    def _sizes(self, x: X, num_outputs: int) -> tuple[int, ...]:
        num_inputs = sum(leaf.size for leaf in jax.tree.leaves(x))
        return (num_inputs, *self.widths, num_outputs)
