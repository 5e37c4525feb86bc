"""Where an audit begins its search for lam* when it does not trust the mode's own lam."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import LocationScale
from avi.evidence.peaks import climb
from avi.types import Family, Lam, PRNGKey, Target

# The first is the inference mode's own lam, the last the second opinion that every row gets.
START_NAMES = ("mode", "family", "laplace", "random", "second")
ASIDE = 0.3  # standard deviations by which a second opinion begins beside the standard member


def family_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return the family's standard member."""
    del target, key
    return family.init()


def laplace_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return the Gaussian at a mode of p(z | x), as wide as the curvature there says.

    Damped Newton steps from z = 0; families without location and scale: their standard member.
    """
    del key
    if not isinstance(family, LocationScale):
        return family.init()

    def log_joint(z: Array) -> Array:
        return target.model.log_joint(target.theta, target.x, z)

    z = climb(log_joint, jnp.zeros(family.latent.size))
    precision = jnp.maximum(-jnp.diag(jax.hessian(log_joint)(z)), 1.0)
    return family.member(z, 1 / jnp.sqrt(precision))


def random_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return a member around a random draw from N(0, I)."""
    del target
    if not isinstance(family, LocationScale):
        return family.init() + jax.random.normal(key, (family.num_params,))
    mean_key, deviation_key = jax.random.split(key)
    mean = jax.random.normal(mean_key, (family.latent.size,))
    return family.member(mean, jnp.exp(0.5 * jax.random.normal(deviation_key, mean.shape) - 0.5))


def second_start(target: Target, family: Family, key: PRNGKey) -> Lam:
    """Return the family's standard member a little aside: no symmetry holds the search there."""
    del target
    step = ASIDE * jax.random.normal(key, (family.num_params,))
    if isinstance(family, LocationScale):
        return family.displace(family.init(), step)
    return family.init() + step


STARTS: tuple[Callable[[Target, Family, PRNGKey], Lam], ...] = (
    family_start,
    laplace_start,
    random_start,
)
