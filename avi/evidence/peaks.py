"""The modes of p(z | x): where they are, and how wide."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avi.conjugate import LOG_TWO_PI
from avi.types import PRNGKey, Scalar, Target, Z

NEWTON_STEPS = 50  # damped steps to a mode
NODES = {1: 257, 2: 33}  # per dimension of the grid that is looked at first
DRAWS = 64  # from the prior, which also say how wide it is
FOLLOWED = {1: 32, 2: 16}  # of the grid, and of the draws, each to its mode
MOST = {1: 32, 2: 16}  # modes that are told apart
NEGLIGIBLE = 20.0  # nats of mass below the heaviest mode
APART = 3.0  # standard deviations of the narrower of two modes that are not one
REACH = 6.0  # of the grid, in standard deviations of the prior


class Peaks(NamedTuple):
    """The modes of more than negligible mass, up to MOST, the one with the largest mass first."""

    mean: Float[Array, "M d"]
    factor: Float[Array, "M d d"]  # lower Cholesky factor of the inverse curvature
    number: Scalar  # that are real; the others repeat the first
    left: Scalar  # log mass of the heaviest mode beyond these, -inf if there is none
    centre: Float[Array, " d"]  # of the prior
    spread: Float[Array, " d"]  # of the prior


def climb(log_joint: Callable[[Z], Scalar], start: Z) -> Z:
    """Return the mode of log p(x, z) that damped Newton steps reach from `start`."""

    def body(carry: tuple[Z, Array], _: None) -> tuple[tuple[Z, Array], None]:
        z, damping = carry
        slope, bend = jax.grad(log_joint)(z), jax.hessian(log_joint)(z)
        values, vectors = jnp.linalg.eigh(-bend)
        step = vectors @ ((vectors.T @ slope) / (jnp.abs(values) + damping))
        better = log_joint(z + step) > log_joint(z)
        damping = jnp.clip(jnp.where(better, damping / 4, damping * 4), 1e-3, 1e6)
        return (jnp.where(better, z + step, z), damping), None

    (z, _), _ = jax.lax.scan(body, (start, jnp.ones(())), None, length=NEWTON_STEPS)
    return z


def find(target: Target, near: Float[Array, "n d"], key: PRNGKey) -> Peaks:
    """Return the modes that are reached from a grid, from draws of the prior, and from `near`.

    The grid is as wide as the prior that the model has: 64 draws of it tell.
    """

    def log_joint(z: Z) -> Scalar:
        return target.model.log_joint(target.theta, target.x, z)

    drawn = jax.vmap(lambda one: target.model.sample(target.theta, one, target.x)[0])(
        jax.random.split(key, DRAWS)
    ).reshape(DRAWS, -1)
    centre, spread = drawn.mean(axis=0), drawn.std(axis=0)
    grid = tops_of_grid(log_joint, centre, spread)
    values = jax.vmap(log_joint)(drawn)
    of_draws = drawn[jnp.argsort(-values)[: FOLLOWED[centre.size]]]
    starts = jnp.concatenate([near, grid, of_draws])
    ends = jax.vmap(lambda start: climb(log_joint, start))(starts)
    best = ends[jnp.argmax(jax.vmap(log_joint)(ends))]
    images = jnp.concatenate([_mirrors(best, centre), _mirrors(best, jnp.zeros_like(centre))])
    mirrored = jax.vmap(lambda start: climb(log_joint, start))(images)
    ends = jnp.concatenate([ends, mirrored])
    factors = jax.vmap(lambda z: _factor(log_joint, z, spread))(ends)
    heights = jax.vmap(log_joint)(ends)
    mass = heights + jnp.log(jnp.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    known = jnp.where(jnp.isfinite(mass), mass, -jnp.inf)
    mass = jnp.where(known > known.max() - NEGLIGIBLE, known, -jnp.inf)
    chosen, number, left = _distinct(ends, factors, mass)
    left = left + 0.5 * centre.size * LOG_TWO_PI
    return Peaks(ends[chosen], factors[chosen], number, left, centre, spread)


def _mirrors(z: Z, centre: Array) -> Float[Array, "m d"]:
    """Return the images of z in the prior's planes of symmetry: a likelihood may be even there."""
    signs = jnp.stack(jnp.meshgrid(*[jnp.array([1.0, -1.0])] * z.size, indexing="ij"), axis=-1)
    return centre + signs.reshape(-1, z.size)[1:] * (z - centre)


def tops_of_grid(
    log_joint: Callable[[Z], Scalar], centre: Array, spread: Array
) -> Float[Array, "F d"]:
    """Return the highest nodes, of a grid around the prior, that are above all neighbours."""
    size = centre.size
    unit = jnp.linspace(-REACH, REACH, NODES[size])
    nodes = jnp.stack(jnp.meshgrid(*[unit] * size, indexing="ij"), axis=-1) * spread + centre
    flat = nodes.reshape(-1, size)
    values = jax.lax.map(log_joint, flat, batch_size=64).reshape(nodes.shape[:-1])
    window = (3,) * size
    around = jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, window, (1,) * size, "SAME")
    tops = jnp.where(values >= around, values, -jnp.inf).ravel()
    return flat[jnp.argsort(-tops)[: FOLLOWED[size]]]


def _factor(log_joint: Callable[[Z], Scalar], z: Z, spread: Array) -> Array:
    """Return the Cholesky factor of the inverse curvature, no wider than the prior."""
    values, vectors = jnp.linalg.eigh(-jax.hessian(log_joint)(z))
    inverse = 1 / jnp.maximum(values, 1 / jnp.max(spread) ** 2)
    covariance = (vectors * inverse) @ vectors.T
    return jnp.linalg.cholesky(covariance)


def _distinct(ends: Array, factors: Array, mass: Array) -> tuple[Array, Scalar, Scalar]:
    """Return the indices of the heaviest modes that are not one, their number, the next's mass."""

    def body(left: Bool[Array, " S"], _: None) -> tuple[Bool[Array, " S"], tuple[Array, Array]]:
        best = jnp.argmax(jnp.where(left, mass, -jnp.inf))
        real = left[best] & jnp.isfinite(mass[best])

        def distance(end: Array, factor: Array) -> Scalar:
            moved = jax.scipy.linalg.solve_triangular(factor, end - ends[best], lower=True)
            return jnp.linalg.norm(moved)

        from_best = jax.vmap(lambda end: distance(end, factors[best]))(ends)
        from_other = jax.vmap(distance)(ends, factors)
        apart = jnp.maximum(from_best, from_other) > APART
        return left & apart, (best, real)

    everything = jnp.ones(len(ends), bool)
    rest, (chosen, real) = jax.lax.scan(body, everything, None, length=MOST[ends.shape[1]])
    left = jnp.max(jnp.where(rest, mass, -jnp.inf))
    return jnp.where(real, chosen, chosen[0]), real.sum(), left
