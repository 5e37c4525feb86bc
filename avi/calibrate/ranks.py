"""Where the true z of a simulated row stands among draws of q: ranks, one for each quantity."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.errors import ConfigError, NonFiniteError
from avi.gap.compiled import Shared
from avi.gap.context import Context
from avi.population import Points
from avi.randomness import key_for
from avi.types import Lam, Latent, Scalar, X, Z

OF_THE_DRAWS, OF_THE_REFERENCES = 0, 1  # folded into the key: independent of each other
AT_A_TIME = 10  # draws of one row, whose log p(x, z) is computed side by side

Ranks = Int[np.ndarray, "n quantities"]
Ranker = Callable[[Float[np.ndarray, "n P"]], Ranks]


class Simulated(NamedTuple):
    """Rows drawn from the model, and what their ranks are taken of."""

    points: Points
    latents: np.ndarray  # the true z of each, [n, D], or [n] categories
    references: np.ndarray  # one more z for each, drawn from the prior and from nothing else


def simulated(context: Context, points: Points, latents: np.ndarray) -> Simulated:
    """Return the rows with their references.

    Raises:
        ConfigError: z is neither a vector nor a category.
    """
    model, latent = context.experiment.problem.model, context.experiment.problem.model.latent
    if getattr(latents, "ndim", None) != (1 if _is_category(latent) else 2):
        raise ConfigError(
            f"Ranks are of the coordinates of a vector z, or of a category, but the z that "
            f"{type(model).__name__} draws is neither. Let its sample return z as one vector."
        )

    def one(shared: Shared, row: X, number: Array) -> Z:
        z, _ = model.sample(shared.theta, jax.random.fold_in(shared.key, number), row)
        return z

    key = jax.random.fold_in(key_for(context.experiment.seed, "calibrate"), OF_THE_REFERENCES)
    draw = context.compiled_for_simulated.over_rows(one, keyed=True)
    return Simulated(points, latents, draw(key, points.rows, points.ids))


def names(latent: Latent) -> list[str]:
    """Return what the columns of ranks are called: the coordinates of z, then the two of all."""
    each = "z = {}" if _is_category(latent) else "z[{}]"
    return [*(each.format(d) for d in range(latent.size)), "log p(x, z)", "joint (TARP)"]


def ranker(context: Context, drawn: Simulated, num_draws: int) -> Ranker:
    """Return what gives, for the lam of each row, the ranks of its true z: compiled once.

    A rank is how many of `num_draws` draws of q(z; lam) are below the true z in a quantity: the
    coordinates of z, or the indicators of its categories; log p(x, z) (Modrák et al. 2023); and the
    distance from the reference (TARP, Lemos et al. 2023). Ties are broken at random, so that where
    q is p(z | x) every rank is uniform on 0, ..., num_draws.
    """
    compiled = context.compiled_for_simulated
    latent = context.experiment.problem.model.latent
    deviation = np.std(_placed(latent, drawn.references), axis=0)
    scale = jnp.asarray(np.where(deviation > 0, deviation, 1.0))

    def one(
        shared: Shared, row: X, number: Array, lam: Lam, z: Z, reference: Z
    ) -> tuple[Array, Array]:
        target, family, _ = compiled.local(shared, row, number, compiled.pair_objective)
        draw_key, tie_key = jax.random.split(jax.random.fold_in(shared.key, number))
        keys = jax.random.split(draw_key, num_draws)
        draws = jax.vmap(lambda key: family.sample(lam, key))(keys)
        every = jnp.concatenate([draws, jnp.asarray(z, draws.dtype)[None]])  # the true z last

        def log_joint(z: Z) -> Scalar:
            return target.model.log_joint(target.theta, target.x, z)

        density = jax.lax.map(log_joint, every, batch_size=AT_A_TIME)
        places = jax.vmap(lambda z: _coordinates(latent, z))(every)
        apart = (places - _coordinates(latent, reference)) / scale
        of_all = jnp.stack([density, jnp.sum(apart**2, axis=-1)], axis=-1)
        values = jnp.concatenate([places, of_all], axis=-1)
        return _rank_of_last(values, tie_key), jnp.isnan(values).any()

    key = jax.random.fold_in(key_for(context.experiment.seed, "calibrate"), OF_THE_DRAWS)
    (rows, ids), latents, references = drawn
    over_rows = compiled.over_rows(one, keyed=True)

    def ranks(lams: Float[np.ndarray, "n P"]) -> Ranks:
        found, broken = over_rows(key, rows, ids, lams, latents, references)
        if broken.any():
            raise NonFiniteError(
                f"A draw of q or its log p(x, z) is not a number for {broken.sum()} of {len(ids)} "
                "rows that the model has drawn: nothing can be said of calibration."
            )
        return np.asarray(found, np.int64)

    return ranks


def _rank_of_last(values: Float[Array, "many Q"], key: Array) -> Int[Array, " Q"]:
    """Return how many of the others are below the last; of n equal ones, 0 to n at random."""
    others, last = values[:-1], values[-1]
    below, equal = jnp.sum(others < last, axis=0), jnp.sum(others == last, axis=0)
    share = jax.random.uniform(key, last.shape)
    return below + jnp.minimum(jnp.floor(share * (equal + 1)).astype(below.dtype), equal)


def _is_category(latent: Latent) -> bool:
    return latent.space == "category"


def _coordinates(latent: Latent, z: Z) -> Array:
    """Return z as numbers that can be ordered: of a category, an indicator of each."""
    return jax.nn.one_hot(z, latent.size) if _is_category(latent) else jnp.asarray(z, float)


def _placed(latent: Latent, latents: np.ndarray) -> np.ndarray:
    return np.asarray(jax.vmap(lambda z: _coordinates(latent, z))(latents))
