"""Where an audit begins its search for lam* when it does not trust the mode's own lam."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import Placeable
from avi.evidence import prior
from avi.evidence.peaks import NODES, REACH, climb, tops_of_grid
from avi.types import Family, Lam, PRNGKey, Target

# The first is the inference mode's own lam, the last the second opinion that every row gets.
START_NAMES = ("mode", "family", "laplace", "random", "second")
NARROW = 0.3  # standard deviations of a second opinion's first member
MOST_CURVED = 16  # latents up to which a second opinion begins at a mode
DRAWN = 16  # draws for one latent, fewer for more
SWEPT = 65  # places along one coordinate


def family_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return the family's standard member."""
    del target, key
    return family.init()


def laplace_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return the Gaussian at a mode of p(z | x), as wide as the curvature there says.

    Damped Newton steps from z = 0; families without location and scale: their standard member.
    """
    del key
    if not isinstance(family, Placeable):
        return family.init()
    return _at_best_mode(target, family, jnp.zeros((1, family.latent.size)))


def _at_best_mode(target: Target, family: Placeable, starts: Array) -> Lam:
    """Return the Gaussian at the mode of largest mass that Newton steps from `starts` find."""

    def log_joint(z: Array) -> Array:
        return target.model.log_joint(target.theta, target.x, z)

    def mass(z: Array) -> tuple[Array, Array]:
        precision = jnp.maximum(-jnp.diag(jax.hessian(log_joint)(z)), 1.0)
        return log_joint(z) - 0.5 * jnp.log(precision).sum(), 1 / jnp.sqrt(precision)

    modes = jax.vmap(lambda start: climb(log_joint, start))(starts)
    masses, deviations = jax.vmap(mass)(modes)
    best = jnp.argmax(jnp.where(jnp.isfinite(masses), masses, -jnp.inf))
    return family.member(modes[best], deviations[best])


def random_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return a member around a random draw from the model's prior."""
    if not isinstance(family, Placeable):
        return family.init() + jax.random.normal(key, (family.num_params,))
    mean_key, deviation_key = jax.random.split(key)
    (mean,) = prior.likely(target, family.latent.size, mean_key, 1)
    return family.member(mean, jnp.exp(0.5 * jax.random.normal(deviation_key, mean.shape) - 0.5))


def second_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return the Gaussian at the best of several modes of p(z | x), found from draws of the prior.

    No symmetry holds such a draw. Draws see no hill that the prior holds to be rare: it is looked
    for on a grid of one or two latents, along the coordinates of more. With many, where curvature
    is dear, it is a narrow member around one draw; without location and scale, a random member.
    """
    if not isinstance(family, Placeable):
        return random_start(target, family, key)
    size = family.latent.size
    if size > MOST_CURVED:
        (mean,) = prior.likely(target, size, key, 1)
        return family.member(mean, jnp.full(size, NARROW))
    drawn = prior.likely(target, size, key, max(2, DRAWN // size))
    return _at_best_mode(target, family, jnp.concatenate([drawn, _far(target, drawn)]))


def _far(target: Target, drawn: Array) -> Array:
    """Return places as high as the prior's whole width holds: tops of a grid, or swept draws."""

    def log_joint(z: Array) -> Array:
        return target.model.log_joint(target.theta, target.x, z)

    size = drawn.shape[1]
    centre, spread = prior.moments(target, size)
    if size in NODES:
        return tops_of_grid(log_joint, centre, spread)[: DRAWN // 2]
    nodes = centre + REACH * spread * jnp.linspace(-1.0, 1.0, SWEPT)[:, None]  # [SWEPT, D]

    def along(z: Array, place: Array) -> tuple[Array, None]:
        line = jnp.vstack([z, jnp.tile(z, (SWEPT, 1)).at[:, place].set(nodes[:, place])])
        heights = jax.vmap(log_joint)(line)
        return line[jnp.argmax(jnp.where(jnp.isnan(heights), -jnp.inf, heights))], None

    return jax.vmap(lambda z: jax.lax.scan(along, z, jnp.arange(size))[0])(drawn)


STARTS: tuple[Callable[[Target, Family, PRNGKey], Lam], ...] = (
    family_start,
    laplace_start,
    random_start,
)
