"""What q says of the entries of a row that are missing: p(missing | seen), by draws."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from avi.abilities import given
from avi.engine.lanes import in_lanes
from avi.engine.step import View
from avi.population import Points
from avi.problem import Problem
from avi.types import Lam, Params, PRNGKey, X

DRAWS = 1000  # of (z, x) for each row
AT_ONCE = 100  # of them side by side
LANES = 10  # rows side by side: a draw has the size of x
LEVELS = (0.05, 0.95)  # of the interval


class Under(NamedTuple):
    """Rows of which entries are missing, and the q of each."""

    problem: Problem
    params: Params
    points: Points  # stored as pairs (mask, value), [n, D, 2]
    view: View
    lam: Float[np.ndarray, "n P"]

    @property
    def seen(self) -> Bool[np.ndarray, "n D"]:
        """Which entries are there."""
        seen: np.ndarray = self.points.rows[..., 0] > 0
        return seen

    @property
    def value(self) -> Float[np.ndarray, "n D"]:
        """The entries, 0 where one is missing."""
        value: np.ndarray = self.points.rows[..., 1]
        return value


class Predicted(NamedTuple):
    """p(x_i | seen) of every entry, those that were seen too, in the units of x."""

    mean: Float[np.ndarray, "n D"]
    low: Float[np.ndarray, "n D"]  # quantiles, the noise of an entry included
    high: Float[np.ndarray, "n D"]


def predicted(rows: Under, key: PRNGKey) -> Predicted:
    """Return mean and interval of every entry over draws of z from q and of x given z."""
    model: Any = rows.problem.model

    def of_row(params: Params, row: PyTree, number: Array, lam: Lam) -> tuple[Array, ...]:
        like, family = _whole(rows, row, number), given(rows.problem.family, params.psi)

        def one(key: PRNGKey) -> tuple[Array, Array]:
            z = family.sample(lam, key)
            x = model.emit(params.theta, z, jax.random.fold_in(key, 1), like)
            return model.decode(params.theta, z, like)["value"], x["value"]

        keys = jax.random.split(jax.random.fold_in(key, number), DRAWS)
        means, draws = jax.lax.map(one, keys, batch_size=AT_ONCE)
        low, high = jnp.quantile(draws, jnp.array(LEVELS), axis=0)
        return means.mean(axis=0), low, high

    mapped = in_lanes(of_row, LANES)
    return Predicted(*mapped(_shared(rows), rows.points.rows, rows.points.ids, rows.lam))


def completed(rows: Under, z: np.ndarray, keys: Array) -> Float[np.ndarray, "n S D"]:
    """Return each row S times, its missing entries drawn given a z of q each.

    Args:
        rows: the rows.
        z: draws of each q, [n, S, ...].
        keys: [n, S].
    """
    model: Any = rows.problem.model

    def of_row(params: Params, row: PyTree, number: Array, z: Array, keys: Array) -> Array:
        like = _whole(rows, row, number)

        def one(z: Array, key: PRNGKey) -> Array:
            found: Array = model.emit(params.theta, z, jax.random.fold_in(key, 1), like)["value"]
            return found

        return jax.vmap(one)(z, keys)

    mapped = in_lanes(of_row, LANES)
    drawn = mapped(_shared(rows), rows.points.rows, rows.points.ids, z, keys)
    return np.where(rows.seen[:, None], rows.value[:, None], drawn)


def log_density(
    rows: Under, key: PRNGKey, hidden: Float[np.ndarray, "n D 2"]
) -> Float[np.ndarray, " n"]:
    """Return log p(hidden | seen) of each row in nats: the mean of p(hidden | z) over draws of q.

    Args:
        rows: the rows, without their hidden entries.
        key: of the draws.
        hidden: pairs (mask, value) of these entries.
    """
    model: Any = rows.problem.model

    def of_row(params: Params, row: PyTree, number: Array, lam: Lam) -> Array:
        x, family = _view(rows, row, number), given(rows.problem.family, params.psi)

        def one(key: PRNGKey) -> Array:
            found: Array = model.log_likelihood(params.theta, x, family.sample(lam, key))
            return found

        keys = jax.random.split(jax.random.fold_in(key, number), DRAWS)
        logs = jax.lax.map(one, keys, batch_size=AT_ONCE)
        return jax.nn.logsumexp(logs) - jnp.log(DRAWS)

    found: np.ndarray = in_lanes(of_row, LANES)(_shared(rows), hidden, rows.points.ids, rows.lam)
    return found


def _shared(rows: Under) -> Params:
    return rows.params._replace(phi=())


def _view(rows: Under, row: PyTree, number: Array) -> X:
    return rows.view(row, number, jnp.zeros((), jnp.int32))


def _whole(rows: Under, row: PyTree, number: Array) -> X:
    """Return what x looks like where nothing is missing."""
    x = _view(rows, row, number)
    return x | {"mask": jnp.ones_like(x["mask"])}
