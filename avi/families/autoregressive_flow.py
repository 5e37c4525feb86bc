"""Inverse autoregressive flows: every coordinate moves as those before it say."""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avi.families.flow import Flow, refuse_small, scaled_and_shifted
from avi.types import PRNGKey, Psi, Scalar


@dataclass(frozen=True)
class AutoregressiveFlow(Flow):
    """T is a stack of h_i -> h_i exp(a_i) + b_i, a_i and b_i functions of h_1 .. h_(i-1).

    Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling (2016), eq. 10; one hidden layer with
    the masks of Germain, Gregor, Murray & Larochelle (2015). A draw and its log q are one pass; the
    density at a given z needs d of them, one coordinate after the other.
    """

    layers: int
    width: int  # of the hidden layer of each layer's network

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_small(self, layers=1, width=1)

    def init_psi(self, key: PRNGKey) -> Psi:
        """Return weights at which T is the identity."""
        inputs = self.latent_size + self.context

        def layer(key: PRNGKey) -> dict[str, Array]:
            scale = max(1, inputs) ** -0.5
            return {
                "inner": scale * jax.random.normal(key, (self.width, inputs)),
                "bias": jnp.zeros(self.width),
                "outer": jnp.zeros((2, self.latent_size, self.width)),
                "from_context": jnp.zeros((2, self.latent_size, self.context)),
                "shift": jnp.zeros((2, self.latent_size)),
            }

        return [layer(one) for one in jax.random.split(key, self.layers)]

    def forward(self, context: Array, eps: Array) -> tuple[Array, Scalar]:
        """Return T(eps) and the log determinant of its Jacobian."""
        h, stretch = eps, jnp.zeros(())
        for weights in cast(list[Any], self.psi):
            h, log_slopes = scaled_and_shifted(self._conditioned(weights, context, h), h)
            h, stretch = h[::-1], stretch + jnp.sum(log_slopes)
        return h, stretch

    def inverse(self, context: Array, h: Array) -> tuple[Array, Scalar]:
        """Return the eps of T(eps) = h and the log determinant of the Jacobian of T there."""
        stretch = jnp.zeros(())
        for weights in reversed(cast(list[Any], self.psi)):
            h, log_slopes = self._undone(weights, context, h[::-1])
            stretch = stretch + jnp.sum(log_slopes)
        return h, stretch

    def _undone(self, weights: Any, context: Array, moved: Array) -> tuple[Array, Array]:
        """Return h of one layer: after i rounds its first i coordinates are right."""
        back = partial(scaled_and_shifted, inverse=True)

        def body(_: Array, h: Array) -> Array:
            return back(self._conditioned(weights, context, h), moved)[0]

        h = jax.lax.fori_loop(0, self.latent_size, body, jnp.zeros_like(moved))
        return back(self._conditioned(weights, context, h), moved)

    def _conditioned(self, weights: Any, context: Array, h: Array) -> Float[Array, "2 d"]:
        """Return a and b of every coordinate."""
        inner, outer = self._masks()
        seen = jnp.concatenate([h, context])
        hidden = jnp.tanh((weights["inner"] * inner) @ seen + weights["bias"])
        found: Array = (weights["outer"] * outer) @ hidden
        return found + weights["from_context"] @ context + weights["shift"]

    def _masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what a hidden unit sees of (h, context), and which units a coordinate sees.

        Unit j has degree 1 .. d-1: it sees the coordinates up to that, and those beyond see it.
        """
        degree = 1 + np.arange(self.width) % max(1, self.latent_size - 1)
        position = 1 + np.arange(self.latent_size)
        sees = np.concatenate(
            [degree[:, None] >= position, np.ones((self.width, self.context), bool)], axis=1
        )
        return sees.astype(np.float32), (position[:, None] > degree).astype(np.float32)
