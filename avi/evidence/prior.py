"""Where a model's own prior lies: draws of z that know nothing of q."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.abilities import StandardNormalPrior, is_standard
from avi.types import Model, PRNGKey, Target

RANKED = 256  # draws of which the likeliest is kept
DRAWN = 1000  # that tell mean and deviations


def is_plain(model: Model) -> bool:
    """Whether the prior is known to be N(0, I)."""
    return isinstance(model, StandardNormalPrior) and is_standard(model)


def draws(target: Target, size: int, key: PRNGKey, number: int) -> Float[Array, "number D"]:
    """Return draws of a real latent of this size from the prior."""
    if is_plain(target.model):
        return jax.random.normal(key, (number, size))

    def one(key: PRNGKey) -> Array:
        return jnp.ravel(target.model.sample(target.theta, key, target.x)[0])

    return jax.vmap(one)(jax.random.split(key, number))


def likely(target: Target, size: int, key: PRNGKey, number: int) -> Float[Array, "number D"]:
    """Return draws of N(0, I), of another prior the likeliest by p(x, z) of many for each.

    A prior of several hills puts few draws on the one that x has chosen.
    """
    if is_plain(target.model):
        return jax.random.normal(key, (number, size))

    def log_joint(z: Array) -> Array:
        return target.model.log_joint(target.theta, target.x, z)

    drawn = draws(target, size, key, number * RANKED)
    logs = jax.vmap(log_joint)(drawn).reshape(number, RANKED)
    best = jnp.argmax(jnp.where(jnp.isnan(logs), -jnp.inf, logs), axis=1)
    return drawn.reshape(number, RANKED, size)[jnp.arange(number), best]


def moments(target: Target, size: int) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
    """Return mean and standard deviations of the prior, known ones or those of many draws."""
    if is_plain(target.model):
        return jnp.zeros(size), jnp.ones(size)
    drawn = draws(target, size, jax.random.key(0), DRAWN)
    return drawn.mean(axis=0), jnp.maximum(drawn.std(axis=0), jnp.finfo(drawn.dtype).tiny)
