"""Does the 95 % interval cover the population gap? 200 replications, fresh rows and fresh noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, SIZE, make_case

from avi.families.gaussian import DiagonalGaussian
from avi.gap.context import Clock, Context, Ledger
from avi.gap.ledger import LedgerFiles
from avi.gap.measure import measure
from avi.gap.statistics import bootstrap_t
from avi.types import Splits

REPLICATIONS, POINTS = 200, 100


def replications():
    """Return the per-point gaps [REPLICATIONS, POINTS] and the population's mean gap (methods O1).

    The encoder is constant: it cannot see x, so that its gap is tr(Lambda Cov(m)) / 2 in the mean.
    """
    case = make_case(DiagonalGaussian(LATENT))
    theta = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), case.params.theta)
    scaled = theta["weight"] / np.exp(theta["log_scale"])[:, None]
    precision = np.eye(LATENT) + scaled.T @ scaled
    covariance = theta["weight"] @ theta["weight"].T + np.diag(np.exp(2 * theta["log_scale"]))
    gain = np.linalg.solve(precision, (scaled / np.exp(theta["log_scale"])[:, None]).T)
    population = 0.5 * np.trace(precision @ gain @ covariance @ gain.T)
    generator = np.random.default_rng(11)
    rows = generator.multivariate_normal(np.zeros(SIZE), covariance, REPLICATIONS * POINTS)
    constant = np.concatenate([np.zeros(LATENT), -0.5 * np.log(np.diag(precision))])
    phi = jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf) if leaf.ndim == 2 else jnp.asarray(constant, leaf.dtype),
        case.params.phi,
    )
    rows = rows.astype(np.float32)
    settings = dataclasses.replace(
        SETTINGS, num_points=len(rows), splits=("train",), num_draws=200, width=2000
    )
    context = Context(
        case.experiment,
        case.params._replace(phi=phi),
        Splits(rows, rows[:1], rows[:1]),
        settings,
        Ledger(LedgerFiles(None, ""), case.experiment.problem.family.num_params),
        lambda what, share: None,
        Clock(None),
    )
    _, found = measure(context)
    gaps = np.array([row.amortization_gap for row in found])
    return gaps.reshape(REPLICATIONS, POINTS), population


@pytest.mark.slow
def test_the_interval_covers_the_population_gap():
    """180 to 198 of 200: a binomial of .95 is outside once in five hundred."""
    gaps, population = replications()
    covered = 0
    for seed, values in enumerate(gaps):
        low, high = bootstrap_t(values, seed)
        covered += low <= population <= high
    error = gaps.std(ddof=1) / np.sqrt(gaps.size)
    print(f"covered {covered} of {REPLICATIONS}; mean {gaps.mean():.4f} +- {error:.4f}")
    print(f"population {population:.4f}")
    assert 180 <= covered <= 198
    # The searches may fall short by the tolerance in the mean, not more.
    assert -SETTINGS.tolerance - 4.75 * error < gaps.mean() - population < 4.75 * error
