"""How well entries that were seen are guessed when they are hidden: `avi infer hold_out=0.1`."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import norm

from avi.population import Points
from avi.process.grammar import many, verb
from avi.run.impute import LEVELS, Under, log_density, predicted
from avi.types import PRNGKey

OF_COLUMN = ("entries", "rmse", "rmse_of_means", "inside")


class Score(NamedTuple):
    """What was found of hidden entries, beside a guess by the training rows' column means."""

    entries: Int[np.ndarray, " D"]  # hidden, of each column
    rmse: Float[np.ndarray, " D"]  # of the mean, in the units of x; NaN where none was hidden
    rmse_of_means: Float[np.ndarray, " D"]
    inside: Float[np.ndarray, " D"]  # share of them in their intervals
    relative: float  # root mean square error, each in deviations of its column
    relative_of_means: float
    nats: float  # log p(hidden | seen) per entry
    nats_of_normals: float | None  # of a normal for each column; None where x is not real


def hide(points: Points, share: float, key: PRNGKey) -> tuple[Points, Float[np.ndarray, "n D 2"]]:
    """Return the rows without a random share of what was seen, and the pairs of what was hidden.

    Which entries of a row depends on its id alone.
    """
    size = points.rows.shape[1]
    draws = jax.vmap(lambda number: jax.random.uniform(jax.random.fold_in(key, number), (size,)))
    hidden = (np.asarray(draws(points.ids)) < share) & (points.rows[..., 0] > 0)
    left, taken = (np.where(part[..., None], points.rows, 0) for part in (~hidden, hidden))
    return Points(left, points.ids), taken


def score(rows: Under, hidden: np.ndarray, train: np.ndarray, key: PRNGKey) -> Score:
    """Return how well the hidden entries are guessed from the others.

    Args:
        rows: without the hidden entries, and the q of what is left.
        hidden: pairs (mask, value) of these entries, [n, D, 2].
        train: pairs of the training rows, by which a column's mean and deviation are known.
        key: of draws.
    """
    which, truth = hidden[..., 0] > 0, hidden[..., 1].astype(np.float64)
    found = predicted(rows, key)
    mean, deviation = _columns(train)
    inside = (found.low <= truth) & (truth <= found.high)
    error, of_means = found.mean - truth, mean - truth
    number, support = which.sum(), rows.problem.model.support
    normals: float | None = None
    if support == "real":
        normals = float(norm.logpdf(truth, mean, deviation)[which].mean())
    return Score(
        entries=which.sum(axis=0),
        rmse=_root_mean(error**2, which),
        rmse_of_means=_root_mean(of_means**2, which),
        inside=_mean(inside, which),
        relative=float(np.sqrt(np.mean((error / deviation)[which] ** 2))),
        relative_of_means=float(np.sqrt(np.mean((of_means / deviation)[which] ** 2))),
        nats=float(log_density(rows, key, hidden).sum() / number),
        nats_of_normals=normals,
    )


def in_words(found: Score, seen: int) -> list[str]:
    """Return what the terminal says of the score; `seen` is the number of values before."""
    number = int(found.entries.sum())
    inside = np.nansum(found.inside * found.entries) / number
    low, high = (f"{100 * level:.0f}" for level in LEVELS)
    nats = f"log density {found.nats:.3f} nats per entry"
    if found.nats_of_normals is not None:
        nats += f", {found.nats_of_normals:.3f} by a normal for each column"
    return [
        f"{number} of {many(seen, 'value')} {verb(number, 'were')} hidden: RMSE "
        f"{found.relative:.3f} deviations of a column, {found.relative_of_means:.3f} by its mean",
        f"{nats}; {inside:.0%} lie in their intervals from {low} to {high} %",
    ]


def _columns(train: np.ndarray) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """Return mean and standard deviation of each column, 0 and 1 where they are not known."""
    seen, value = train[..., 0] > 0, train[..., 1].astype(np.float64)
    mean = np.nan_to_num(_mean(value, seen))
    deviation = np.nan_to_num(_root_mean((value - mean) ** 2, seen))
    return mean, np.where(deviation > 0, deviation, 1.0)


def _mean(values: np.ndarray, which: Bool[np.ndarray, "n D"]) -> Float[np.ndarray, " D"]:
    number = which.sum(axis=0)
    total = np.where(which, values, 0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _root_mean(squares: np.ndarray, which: Bool[np.ndarray, "n D"]) -> Float[np.ndarray, " D"]:
    return np.sqrt(_mean(squares, which))
