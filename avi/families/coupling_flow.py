"""Coupling flows: half of the coordinates say how the other half moves."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.families.flow import Flow, refuse_small, scaled_and_shifted
from avi.families.splines import num_numbers, spline
from avi.networks.mlp import MLP
from avi.types import PRNGKey, Psi, Scalar

BINS = 8  # of a spline


@dataclass(frozen=True)
class CouplingFlow(Flow):
    """T is a stack of couplings: every layer moves the other half of the coordinates.

    `affine`: h -> h exp(a) + b (Dinh, Sohl-Dickstein & Bengio 2017, eq. 8); `spline`: a monotone
    rational-quadratic spline of h (Durkan et al. 2019). Density and inverse cost what a draw costs.
    psi are the weights of one network per layer.
    """

    layers: int
    width: int  # of the hidden layer of each layer's network
    transform: Literal["affine", "spline"]

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_small(self, layers=1, width=1)
        if self.latent_size == 1 and not self.context:
            raise ValueError(
                "a coupling of one coordinate sees its context alone. Try family.context=4."
            )

    def init_psi(self, key: PRNGKey) -> Psi:
        """Return weights at which T is the identity."""
        seen = jnp.zeros(self._kept + self.context)
        bias = jnp.zeros(self._num_outputs)
        return [self._network.init(one, seen, bias) for one in jax.random.split(key, self.layers)]

    def forward(self, context: Array, eps: Array) -> tuple[Array, Scalar]:
        """Return T(eps) and the log determinant of its Jacobian."""
        return self._through(context, eps, inverse=False)

    def inverse(self, context: Array, h: Array) -> tuple[Array, Scalar]:
        """Return the eps of T(eps) = h and the log determinant of the Jacobian of T there."""
        return self._through(context, h, inverse=True)

    def _through(self, context: Array, h: Array, *, inverse: bool) -> tuple[Array, Scalar]:
        """Go through the layers, every second of which sees the coordinates from the other end."""
        stretch, psi = jnp.zeros(()), cast(list[Any], self.psi)
        for number in reversed(range(self.layers)) if inverse else range(self.layers):
            turned = h[::-1] if number % 2 else h
            kept, moving = turned[: self._kept], turned[self._kept :]
            seen = jnp.concatenate([kept, context])
            outputs = self._network.apply(psi[number], seen, self._num_outputs)
            moved, log_slopes = self._move(outputs.reshape(moving.size, -1), moving, inverse)
            turned = jnp.concatenate([kept, moved])
            h, stretch = turned[::-1] if number % 2 else turned, stretch + jnp.sum(log_slopes)
        return h, stretch

    def _move(self, numbers: Array, h: Array, inverse: bool) -> tuple[Array, Array]:
        """Return the moved coordinates and the log slope of T in each."""
        if self.transform == "spline":
            return jax.vmap(lambda own, one: spline(own, one, inverse=inverse))(numbers, h)
        return scaled_and_shifted(numbers.T, h, inverse=inverse)

    @property
    def _kept(self) -> int:
        return self.latent_size // 2

    @property
    def _num_outputs(self) -> int:
        each = num_numbers(BINS) if self.transform == "spline" else 2
        return (self.latent_size - self._kept) * each

    @property
    def _network(self) -> MLP:
        return MLP((self.width,), "tanh", output_scale=0.0)
