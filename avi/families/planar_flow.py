"""Planar flows: noise is stretched along one direction after another."""

from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.families.flow import Flow, refuse_small
from avi.types import PRNGKey, Psi, Scalar

HALVINGS = 60  # of the interval in which an inverse lies: to the last bit of double precision


@dataclass(frozen=True)
class PlanarFlow(Flow):
    """T is a stack of h -> h + u tanh(w . h + b), b of its own for each datapoint.

    Rezende & Mohamed (2015), eq. 10; u is bent so that w . u > -1, which makes every layer
    invertible (appendix A.1). A draw and its log q are one pass; the density at a given z needs
    the root of one increasing function of one number per layer.
    """

    layers: int

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_small(self, layers=1)

    def init_psi(self, key: PRNGKey) -> Psi:
        """Return weights at which T is the identity."""

        def layer(key: PRNGKey) -> dict[str, Array]:
            across, along = jax.random.split(key)
            return {
                "w": jax.random.normal(across, (self.latent_size,)) / self.latent_size**0.5,
                "u": jnp.zeros(self.latent_size),
                "b": jnp.zeros(()),
                "from_context": 0.1 * jax.random.normal(along, (self.context,)),
            }

        return [layer(one) for one in jax.random.split(key, self.layers)]

    def forward(self, context: Array, eps: Array) -> tuple[Array, Scalar]:
        """Return T(eps) and the log determinant of its Jacobian."""
        h, stretch = eps, jnp.zeros(())
        for weights in cast(list[Any], self.psi):
            w, u, b = _at(weights, context)
            place = w @ h + b
            h, stretch = h + u * jnp.tanh(place), stretch + _log_slope(w @ u, place)
        return h, stretch

    def inverse(self, context: Array, h: Array) -> tuple[Array, Scalar]:
        """Return the eps of T(eps) = h and the log determinant of the Jacobian of T there."""
        stretch = jnp.zeros(())
        for weights in reversed(cast(list[Any], self.psi)):
            w, u, b = _at(weights, context)
            place = _root(w @ h + b, w @ u)
            h, stretch = h - u * jnp.tanh(place), stretch + _log_slope(w @ u, place)
        return h, stretch


def _at(weights: Any, context: Array) -> tuple[Array, Array, Array]:
    """Return w, u and b of one layer, w . u > -1 and 0 where the weight u is 0."""
    w, u = weights["w"], weights["u"]
    inner = w @ u
    # log(e - 1) away from softplus's own origin, so that u = 0 stays 0.
    wanted = jax.nn.softplus(inner + jnp.log(jnp.expm1(1.0))) - 1
    u = u + (wanted - inner) * w / (w @ w)
    return w, u, weights["b"] + weights["from_context"] @ context


def _log_slope(steepness: Scalar, place: Scalar) -> Scalar:
    """Return log |1 + w . u (1 - tanh^2)|."""
    return jnp.log1p(steepness * (1 - jnp.tanh(place) ** 2))


def _root(value: Scalar, steepness: Scalar) -> Scalar:
    """Return the t of t + steepness tanh(t) = value, which increases in t; smooth in both."""
    value_, steepness_ = jax.lax.stop_gradient((value, steepness))
    reach = jnp.abs(steepness_)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        below = middle + steepness_ * jnp.tanh(middle) < value_
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (value_ - reach, value_ + reach))
    found = 0.5 * (low + high)
    # One Newton step carries the derivatives, by the implicit function theorem.
    slope = 1 + steepness_ * (1 - jnp.tanh(found) ** 2)
    return found - (found + steepness * jnp.tanh(found) - value) / slope
