"""Means over datapoints with their errors: paired differences, bootstrap-t intervals."""

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from scipy import stats

from avi.evidence.iwae import pareto_khat
from avi.results.gap import Mean

RESAMPLES = 2000  # B
LEVEL = 0.95
CARRIED = 1 / 3  # of the mean by one point: more, and resampling says nothing of it
FEWEST = 30  # points below which a skewed mean has no honest interval
FALSE_ALARM = 1e-6  # of the largest |z| over all points of a report


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over pairs of draws and its standard error, summed in float64."""
    if len(values) == 1:
        return float(values[0]), 0.0
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def mean_of(
    values: Float[np.ndarray, " n"],
    noise: Float[np.ndarray, " n"],
    split_size: int,
    seed: int,
    *,
    gaps: bool = False,
    level: float = LEVEL,
) -> Mean:
    """Return the mean of one value per point; `noise` is the Monte Carlo standard error of each.

    The spread of the values already contains their noise: draws are independent between points. Of
    `gaps`, whose right tail carries the mean, an interval is given only where the tail allows one.
    """
    number = len(values)
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if number > 1 else float("nan")
    monte_carlo = float(np.sqrt(np.sum(noise**2))) / number
    se = spread / np.sqrt(number)
    # Without replacement from split_size rows the choice of x matters less, the noise as much.
    choice = max(se**2 - monte_carlo**2, 0.0) * (1 - number / split_size)
    honest = number >= FEWEST and not (gaps and carried_by_few(values))
    interval = bootstrap_t(values, seed, level) if honest else None
    return Mean(mean, float(se), monte_carlo, float(np.sqrt(choice + monte_carlo**2)), interval)


def carried_by_few(values: Float[np.ndarray, " n"]) -> bool:
    """Whether no interval of the mean can be honest: one value of it counts for too much.

    Either more than a third of it is one point, or its own tail has no variance: Pareto k above one
    half by half of its standard error, that of a tail of a fifth of the points.
    """
    sizes = np.abs(values)
    if sizes.max() > CARRIED * sizes.sum():
        return True
    if np.ptp(values) == 0:
        return False
    above = values - values.min() + 1e-3 * np.ptp(values)
    khat = float(pareto_khat(np.log(above)))
    return khat > 0.5 * (1 + 1 / math.sqrt(len(values) / 5))


def bootstrap_t(
    values: Float[np.ndarray, " n"], seed: int, level: float = LEVEL
) -> tuple[float, float]:
    """Return the bootstrap-t interval of the mean (Efron & Tibshirani 1993, ch. 12).

    Gaps are skewed to the right: the t-interval covers too little, mostly from below.
    """
    number = len(values)
    mean, se = values.mean(), values.std(ddof=1) / np.sqrt(number)
    generator = np.random.default_rng(seed)
    samples = values[generator.integers(number, size=(RESAMPLES, number))]
    deviations = samples.std(axis=1, ddof=1) / np.sqrt(number)
    usable = deviations > 0
    if not usable.any():
        return float(mean), float(mean)
    ratios = (samples.mean(axis=1)[usable] - mean) / deviations[usable]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(mean - high * se), float(mean - low * se)


def lower_limit(mean: Mean, number: int) -> float:
    """Return the one-sided 95 % limit that the gap exceeds whether or not lam* converged.

    By Student's t; NaN below 30 points, where the skew of gaps is larger than any quantile's care.
    """
    if number < FEWEST:
        return float("nan")
    return mean.mean - float(stats.t.ppf(LEVEL, number - 1)) * mean.se


def khat_limit(num_samples: float) -> float:
    """Return the largest khat at which S weights give a usable mean (Vehtari et al. 2024)."""
    return min(1 - 1 / math.log10(num_samples), 0.7)


def significantly_negative(
    values: Float[np.ndarray, " n"], noise: Float[np.ndarray, " n"], rounding: float
) -> bool:
    """Whether values that cannot be negative are: the mean beyond 3 se, or one beyond doubt.

    `rounding` is what the arithmetic itself may lose per point, in nats.
    """
    number = len(values)
    monte_carlo = np.sqrt(np.sum(noise**2)) / number
    if values.mean() < -3 * monte_carlo - rounding:
        return True
    threshold = -NormalDist().inv_cdf(FALSE_ALARM / number)
    return bool(np.any(values < -threshold * noise - 3 * rounding))
