"""What the curvature of a bound says of the posterior's spread: linear response."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.refine.certificate import BLOCKS, DAMPING, conjugate_gradients, coordinates
from avi.types import Lam, Local, PRNGKey, Scalar

RELATIVE_TOLERANCE = 1e-3  # of the residual; a variance errs by the square of this
MOST = 4  # products with the curvature per entry of lam: single precision needs more than one


def linear_response(local: Local, lam: Lam, key: PRNGKey) -> Float[Array, " D"]:
    """Return the standard deviation of each z by linear response, NaN where there is none.

    If log p(x, z) grew by t z_i, the best member's E[z] would move by t times the covariance of z_i
    and z: Cov = J (-H)^-1 J', with H the curvature of the ELBO at its top and J that of E[z; lam]
    (Giordano, Broderick & Jordan 2018, eq. 12). For a mean-field Gaussian under a Gaussian
    posterior it is the exact marginal deviation, where q's own is too small. It says something at a
    lam without anything left to gain, and of a posterior with one hill. NaN also where the
    curvature is not positive. Costs D systems of equations in lam.

    The objective of `local` should be exact or moment-matched.
    """
    displaced = coordinates(local.family, lam)
    origin = jnp.zeros_like(lam)
    keys = jax.random.split(key, BLOCKS)

    def slope(step: Lam) -> Lam:
        def bound(draw_key: PRNGKey) -> Lam:
            return jax.grad(lambda step: local.bound(displaced(step), draw_key).value)(step)

        return jax.lax.map(bound, keys).mean(axis=0)

    def curvature(vector: Lam) -> Lam:
        return DAMPING * vector - jax.jvp(slope, (origin,), (vector,))[1]

    mean, pull = jax.vjp(lambda step: local.family.mean(displaced(step)), origin)
    most = MOST * lam.size

    def variance(unit: Array) -> Scalar:
        (moves,) = pull(unit)
        found = conjugate_gradients(curvature, moves, most, RELATIVE_TOLERANCE)
        return jnp.where(
            found.positive & (found.iterations < most), moves @ found.solution, jnp.nan
        )

    return jnp.sqrt(jax.lax.map(variance, jnp.eye(mean.size, dtype=mean.dtype)))
