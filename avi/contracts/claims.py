"""A claim about a component, and what was found when it was tried."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from scipy.stats import t as student

from avi.abilities import SharedWeights
from avi.types import Family, PRNGKey, Psi

FALSE_ALARM = 1e-6  # of one claim that draws
GROUPS = 50  # whose means are compared: near normal, even where single draws are heavy-tailed
MOVE = 0.7  # standard deviation by which a move changes a log density, to first order
WHOLE = 32  # entries of an array up to which each is looked at, not directions
DIRECTIONS = 8  # random ones in which a larger array is looked at


class Claim(NamedTuple):
    """Something that must hold, whether it does, and by which measure."""

    name: str
    holds: bool
    found: str


def exactly(name: str, got: Any, expected: Any, rounding: float) -> Claim:
    """Claim that two arrays are equal but for `rounding`, relative to 1 and to their size."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    off = np.abs(got - expected) / (1 + np.abs(expected))
    worst = float(off.max(initial=0.0))
    return Claim(name, bool(worst <= rounding), f"off by {worst:.1e}, allowed {rounding:.0e}")


def mean_is(name: str, draws: Any, expected: Any = 0.0) -> Claim:
    """Claim that the mean of `draws` [n, ...] is `expected`, by Student's t of group means.

    One claim fails by chance once in 1 / FALSE_ALARM, all its numbers counted.
    """
    means = _group_means(draws)
    if not np.isfinite(means).all():
        return Claim(name, False, "a draw is not finite")
    difference = means.mean(0) - np.ravel(np.broadcast_to(expected, np.shape(draws)[1:]))
    error = means.std(0, ddof=1) / np.sqrt(GROUPS)
    rounding = 1e-4 * np.abs(means).max(0, initial=0.0) + 1e-6
    return _within(name, np.abs(difference), error, rounding, FALSE_ALARM / 2)


def mean_at_most(name: str, draws: Any, limit: float) -> Claim:
    """Claim that the mean of `draws` [n] is not above `limit`, by Student's t of group means."""
    means = _group_means(draws)
    if not np.isfinite(means).all():
        return Claim(name, False, "a draw is not finite")
    error = means.std(0, ddof=1) / np.sqrt(GROUPS)
    rounding = np.full(1, 1e-5 * (1 + abs(limit)))
    return _within(name, np.maximum(means.mean(0) - limit, 0.0), error, rounding, FALSE_ALARM)


def _group_means(draws: Any) -> np.ndarray:
    flat = np.asarray(draws, np.float64).reshape(np.shape(draws)[0], -1)
    usable = len(flat) - len(flat) % GROUPS
    return flat[:usable].reshape(GROUPS, -1, flat.shape[1]).mean(1)


def _within(
    name: str, off: np.ndarray, error: np.ndarray, rounding: np.ndarray, alarm: float
) -> Claim:
    if not off.size:
        return Claim(name, True, "nothing to draw")
    limit = float(student.isf(alarm / off.size, GROUPS - 1))
    t = off / np.maximum(error, rounding / limit)
    return Claim(name, bool(t.max() <= limit), f"largest t {t.max():.1f}, allowed {limit:.1f}")


def drawn(function: Callable[[PRNGKey], Any], number: int, seed: int = 0) -> Any:
    """Return `number` values of a function of a key, leading axis."""
    return drawing(function)(number, seed)


def drawing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function from (number, seed, what else `function` is given) to values of it.

    Compiled once for all seeds and all that is given.
    """

    @jax.jit
    def over(keys: PRNGKey, *given: Any) -> Any:
        return jax.lax.map(lambda key: function(key, *given), keys, batch_size=100)

    def draw(number: int, seed: int, *given: Any) -> Any:
        return over(jax.random.split(jax.random.key(seed), number), *given)

    return draw


def projected(tree: Any) -> Float[Array, " m"]:
    """Return the numbers of a tree: every entry of small arrays, some directions of large ones."""
    parts = [jnp.zeros(0)]
    for number, leaf in enumerate(jax.tree.leaves(tree)):
        flat = jnp.ravel(leaf)
        if flat.size > WHOLE:
            signs = np.random.default_rng(number).choice([-1.0, 1.0], (DIRECTIONS, flat.size))
            flat = jnp.asarray(signs, flat.dtype) @ flat
        parts.append(flat)
    return jnp.concatenate(parts)


def length_of(slopes: Any) -> Array:
    """Return how far to go in a direction in which a log density has these slopes."""
    spread = jnp.std(slopes)
    return MOVE / jnp.where(spread > 0, spread, MOVE)


def with_weights(family: Family) -> Family:
    """Return the family at weights that are not those of its start, if it has any."""
    if not isinstance(family, SharedWeights):
        return family
    of_start = family.init_psi

    @jax.jit
    def shaken() -> Psi:
        flat, unravel = ravel_pytree(of_start(jax.random.key(10)))
        return unravel(flat + 0.3 * jax.random.normal(jax.random.key(11), flat.shape))

    return family.given(shaken())


def broken(claims: Iterable[Claim]) -> list[Claim]:
    """Return the claims that do not hold."""
    return [claim for claim in claims if not claim.holds]
