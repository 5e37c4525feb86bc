"""Where log p(x, z) jumps: what reparametrised gradients cannot see."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avi.abilities import Noisy, Stratified
from avi.types import Lam, Local, PRNGKey, Scalar

PATHS = 16  # between independent draws of q
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)  # of one path, on [-1, 1]


def hidden(local: Local, lam: Lam, key: PRNGKey) -> Scalar:
    """Return what jumps of log p(x, z) may hide from a certificate at lam, in nats; 0 without any.

    Two draws of the noise are joined by the arc cos(t) eps + sin(t) eps', every point of which has
    the law of a draw. Along it log p(x, z) is the integral of its derivative unless it jumps: what
    is left, r, is by how much the jumps below z and below z' differ. In coordinates of unit Fisher
    matrix the gradient lacks E[j(z) score(z)], whose square is at most Var[j] = E[r^2] / 2 by
    Bessel's inequality, as scores are orthonormal there; a decrement lacks half of that. A density
    that merely bends too fast for these nodes counts too: draws of its gradient say as little.
    """
    family, (model, theta, x) = local.family, local.target
    if not isinstance(family, Noisy):
        return jnp.zeros(())

    def remainder(ends: Array) -> Scalar:
        """Return the mean of r^2 over the components of a mixture, of one otherwise."""

        def at(angle: Array) -> Array:
            z, _ = strata(family, lam, jnp.cos(angle) * ends[0] + jnp.sin(angle) * ends[1])
            return jax.vmap(lambda one: model.log_joint(theta, x, one))(z)

        def slope(angle: Array) -> Array:
            return jax.jvp(at, (angle,), (jnp.ones_like(angle),))[1]

        half = jnp.asarray(jnp.pi / 4, ends.dtype)
        slopes = jax.lax.map(slope, half * (1 + jnp.asarray(NODES, ends.dtype)))
        integral = half * jnp.asarray(WEIGHTS, ends.dtype) @ slopes
        _, log_weights = strata(family, lam, ends[0])
        return jnp.exp(log_weights) @ (at(2 * half) - at(0 * half) - integral) ** 2

    ends = jax.vmap(family.noise)(jax.random.split(key, 2 * PATHS))
    return jax.lax.map(remainder, ends.reshape(PATHS, 2, -1), batch_size=4).mean() / 4


def strata(family: Any, lam: Lam, eps: Array) -> tuple[Array, Array]:
    """Return z of every component of a mixture and its log weight, else of the one there is."""
    if isinstance(family, Stratified):
        return family.strata(lam, eps)
    return family.transport(lam, eps)[None], jnp.zeros(1)
