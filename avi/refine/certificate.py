"""How many nats a lam still lacks to the best of its family: the certificate of convergence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from avi.abilities import LocationScale, LogConcave
from avi.types import Family, Lam, Local, PRNGKey, Scalar

BLOCKS = 4  # sets of draws on each side of the cross-fit
MAX_ITERATIONS = 20  # of conjugate gradients
DAMPING = 1e-6  # added to the curvature
ABSOLUTE_TOLERANCE = 1e-6  # of the residual: at an exact optimum relative ones underflow to NaN
RELATIVE_TOLERANCE = 0.03  # the decrement errs by the square of this


class Certificate(NamedTuple):
    """What is left to gain at one lam, in nats."""

    value: Scalar  # the cross-fitted Newton decrement; can be a little below zero
    standard_error: Scalar  # of its Monte Carlo noise
    newton: Lam  # where the Newton step leads
    positive: Bool[Array, ""]  # the curvature is; if not, the value is the Fisher form
    guarantee: Scalar  # rigorous for a log-concave likelihood, else NaN: remaining nats <= this
    iterations: Int[Array, ""]  # of conjugate gradients


def certify(local: Local, lam: Lam, key: PRNGKey) -> Certificate:
    """Return the Newton decrement g1' (-H)^-1 g2 / 2 at lam, g1 and g2 gradients on disjoint draws.

    Cross-fitting removes the bias that noise gives the square of one gradient. The coordinates are
    those in which the Fisher matrix of the family is the identity, so conjugate gradients need no
    other preconditioner and |g|^2 / 2 is the Fisher form. The objective of `local` should be exact
    or moment-matched. Costs 2 BLOCKS gradients and at most MAX_ITERATIONS Hessian-vector products.
    """
    displaced = coordinates(local.family, lam)
    origin = jnp.zeros_like(lam)
    gradient_key, curvature_key = jax.random.split(key)

    def gradient(step: Lam, draw_key: PRNGKey) -> Lam:
        return jax.grad(lambda step: local.bound(displaced(step), draw_key).value)(step)

    keys = jax.random.split(gradient_key, 2 * BLOCKS)
    gradients = jax.lax.map(lambda draw_key: gradient(origin, draw_key), keys)
    first, second = gradients[:BLOCKS], gradients[BLOCKS:]
    _, curvature = jax.linearize(lambda step: gradient(step, curvature_key), origin)
    direction, positive, iterations = conjugate_gradients(
        lambda vector: DAMPING * vector - curvature(vector), second.mean(axis=0)
    )
    direction = jnp.where(positive, direction, second.mean(axis=0))
    decrements = 0.5 * first @ direction
    return Certificate(
        value=decrements.mean(),
        # Twice the variance: the noise of `second` counts as much as that of `first`.
        standard_error=jnp.sqrt(2 * decrements.var(ddof=1) / BLOCKS),
        newton=displaced(direction),
        positive=positive,
        guarantee=_guarantee(local, lam, keys),
        iterations=iterations,
    )


def coordinates(family: Family, lam: Lam) -> Callable[[Lam], Lam]:
    """Return step -> lam, with unit Fisher matrix at 0 where the family offers that."""
    if isinstance(family, LocationScale):
        scaled: LocationScale = family
        return lambda step: scaled.displace(lam, step)
    return lambda step: lam + step


def conjugate_gradients(
    curvature: Callable[[Array], Array], right: Array
) -> tuple[Array, Bool[Array, ""], Int[Array, ""]]:
    """Return (curvature^-1 right, whether the curvature is positive on the way, iterations)."""
    enough = jnp.maximum(RELATIVE_TOLERANCE * jnp.linalg.norm(right), ABSOLUTE_TOLERANCE)

    def unfinished(carry: tuple) -> Array:
        _, residual, _, positive, iterations = carry
        return positive & (jnp.linalg.norm(residual) > enough) & (iterations < MAX_ITERATIONS)

    def body(carry: tuple) -> tuple:
        solution, residual, direction, _, iterations = carry
        image = curvature(direction)
        bend = direction @ image
        positive = bend > 0
        square = residual @ residual
        length = jnp.where(positive, square / jnp.where(positive, bend, 1.0), 0.0)
        new_residual = residual - length * image
        new_direction = new_residual + new_residual @ new_residual / square * direction
        return (
            solution + length * direction,
            new_residual,
            new_direction,
            positive,
            iterations + 1,
        )

    start = (jnp.zeros_like(right), right, right, jnp.array(True), jnp.zeros((), jnp.int32))
    solution, _, _, positive, iterations = jax.lax.while_loop(unfinished, body, start)
    return solution, positive, iterations


def _guarantee(local: Local, lam: Lam, keys: Array) -> Scalar:
    """Return |g|^2 / 2 in (m, C), where the ELBO is 1-strongly concave, plus 3 standard errors.

    Challis & Barber (2013); Domke (2020): with z ~ N(0, I) and log p(x | z) concave in z, no member
    of the family is better by more than this.
    """
    family: Any = local.family
    if not (isinstance(local.target.model, LogConcave) and isinstance(family, LocationScale)):
        return jnp.asarray(jnp.nan)
    # (m, C) is elementwise in lam, so its Jacobian is the diagonal that a vector of ones reads off.
    _, stretch = jax.jvp(family.location_scale, (lam,), (jnp.ones_like(lam),))

    def slope(draw_key: PRNGKey) -> Array:
        return jax.grad(lambda lam: local.bound(lam, draw_key).value)(lam) / stretch

    slopes = jax.lax.map(slope, keys)
    squares = 0.5 * slopes[:BLOCKS] @ slopes[BLOCKS:].mean(axis=0)
    return squares.mean() + 3 * jnp.sqrt(2 * squares.var(ddof=1) / BLOCKS)
