"""Calibration against closed forms: exact posteriors, mean field, bias, and finite latents.

Every z-score is at 4.75: a false-alarm rate of 2e-6 each.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, SIZE, make_case
from scipy import special, stats

from avi.calibrate.measure import calibration, coverage
from avi.calibrate.ranks import names, ranker, simulated
from avi.calibrate.uniformity import Uniformity
from avi.errors import ConfigError, NonFiniteError
from avi.families.categorical import Categorical
from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import FullRankGaussian
from avi.gap.context import Clock, Context
from avi.gap.folder import ledger
from avi.gap.simulated import draw
from avi.models.mixture import Mixture
from avi.problem import Problem
from avi.settings import CalibrateSettings
from avi.types import Latent, Params

Z = 4.75
REPLICATIONS, ROWS, DRAWS = 200, 40, 19
SHIFT = 0.4  # of the first coordinate's mean, in its standard deviations
FAMILY = FullRankGaussian(LATENT)


def context_of(case, number):
    experiment, params, splits = case
    settings = replace(SETTINGS, simulated=number, width=500)
    known = ledger(None, experiment, params, settings, None)
    return Context(experiment, params, splits, settings, known, lambda *_: None, Clock(None))


def correlated(case):
    """Return the case with columns of W that point almost the same way."""
    theta = dict(case.params.theta)
    theta["weight"] = theta["weight"] + 1.5 * theta["weight"][:, :1]
    return case._replace(params=case.params._replace(theta=theta))


def posterior(theta, rows):
    """Return the means of p(z | x) and its precision, from the formula and in float64."""
    theta = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), theta)
    scaled = theta["weight"] / np.exp(theta["log_scale"])[:, None]
    precision = np.eye(LATENT) + scaled.T @ scaled
    means = ((rows - theta["mean"]) / np.exp(theta["log_scale"])) @ scaled
    return means @ np.linalg.inv(precision), precision


@pytest.fixture(scope="module")
def gaussian():
    """Return the ranks under the exact q, the best of mean field and a shifted q; the precision.

    All are members of one family, hence one compilation.
    """
    case = correlated(make_case(FAMILY))
    context = context_of(case, 3 * REPLICATIONS * ROWS)
    points, latents = draw(context)
    means, precision = posterior(case.params.theta, points.rows)
    covariance = np.linalg.inv(precision)
    exact, diagonal = np.linalg.cholesky(covariance), np.diag(np.diag(precision) ** -0.5)
    of_row = np.arange(len(points)) // (REPLICATIONS * ROWS)
    means[of_row == 2, 0] += SHIFT * np.sqrt(covariance[0, 0])
    scales = np.stack([exact, diagonal, exact])[of_row]
    lams = jax.vmap(FAMILY.join)(jnp.asarray(means), jnp.asarray(scales))
    found = ranker(context, simulated(context, points, latents), DRAWS)(np.asarray(lams))
    return [found[of_row == q] for q in range(3)], precision


def test_exact_posteriors_are_refused_as_often_as_the_test_says(gaussian):
    """200 replications of a small calibration, for each quantity: coordinates, density, TARP."""
    exact = gaussian[0][0].reshape(REPLICATIONS, ROWS, -1)
    test = Uniformity(ROWS, DRAWS)
    rate = test.band(0.05).failure_rate
    for quantity in range(exact.shape[-1]):
        refused = sum(test.p_value(one[:, quantity]) <= 0.05 for one in exact)
        assert stats.binomtest(refused, REPLICATIONS, rate).pvalue > 2e-6


def law_of_ranks(ratio):
    """Return P(rank) of N(0, ratio^2) among draws of N(0, 1): the binomial's mean over Phi(z)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    ranks, below = np.arange(DRAWS + 1)[:, None], stats.norm.cdf(ratio * nodes)
    chances = special.comb(DRAWS, ranks) * below**ranks * (1 - below) ** (DRAWS - ranks)
    return chances @ weights / weights.sum()


def test_mean_field_is_too_narrow_by_the_known_factor(gaussian):
    """sd of q is Lambda_dd^-1/2, that of p(z | x) is Sigma_dd^1/2 (methods O1)."""
    (_, found, _), precision = gaussian
    factors = np.sqrt(np.diag(np.linalg.inv(precision)) * np.diag(precision))
    assert factors.max() > 1.2
    for factor, ranks in zip(factors, found.T, strict=False):
        law = law_of_ranks(factor)
        for level in (0.5, 0.9):
            one = coverage(ranks, DRAWS, level)
            outside = round((1 - one.nominal) / 2 * (DRAWS + 1))
            expected = law[outside : DRAWS + 1 - outside].sum()
            assert abs(one.share - expected) < Z * np.sqrt(expected * (1 - expected) / len(ranks))
            assert expected < one.nominal
    assert Uniformity(len(found), DRAWS).p_value(found[:, factors.argmax()]) < 1e-9


def test_the_law_of_ranks_is_uniform_where_q_is_as_wide():
    np.testing.assert_allclose(law_of_ranks(1.0), 1 / (DRAWS + 1), atol=1e-12)


def test_a_shifted_mean_is_found_and_the_mean_rank_says_by_how_much(gaussian):
    """A draw is below the truth with probability Phi(-shift / sqrt 2)."""
    found = gaussian[0][2]
    share = found[:, 0] / DRAWS
    error = share.std(ddof=1) / np.sqrt(len(share))
    assert abs(share.mean() - stats.norm.cdf(-SHIFT / np.sqrt(2))) < Z * error
    assert Uniformity(len(found), DRAWS).p_value(found[:, 0]) < 1e-9


@pytest.mark.parametrize(("q", "quantity"), [(1, -2), (2, -2), (1, -1)])
def test_the_density_sees_both_faults_and_tarp_the_lost_correlation(gaussian, q, quantity):
    """TARP is weak against a shift: half of its references are on either side of it."""
    found = gaussian[0][q]
    assert Uniformity(len(found), DRAWS).p_value(found[:, quantity]) < 1e-9


def test_what_an_untrained_encoder_does_is_told_from_what_its_family_can():
    """Of Gaussians of all covariances the best is the posterior: its fault is the encoder's."""
    settings = CalibrateSettings(num_points=60, num_draws=DRAWS, search=True, failure_rate=2e-6)
    found = calibration(context_of(make_case(FAMILY), 60), settings, step=7)
    assert not found.holds(found.own)
    assert found.holds(found.best)
    assert found.certified == found.n == 60
    assert "the fault is the mode's" in found.verdict
    assert [one.name for one in found.own.quantities] == names(Latent("real", LATENT))
    assert all(sum(one.counts) == found.n for one in found.best.quantities)


@dataclass(frozen=True)
class Proportions:
    """z ~ Dirichlet(1, 2, 3), x the counts of 8 tokens: p(z | x) is Dirichlet(prior + x)."""

    support = "count"
    latent = Latent("simplex", 3)
    prior = (1.0, 2.0, 3.0)

    def log_joint(self, theta, x, z):
        del theta
        return jnp.sum((jnp.array(self.prior) - 1 + x) * jnp.log(z))  # but for a constant

    def sample(self, theta, key, like):
        del theta, like
        z_key, x_key = jax.random.split(key)
        z = jax.random.dirichlet(z_key, jnp.array(self.prior))
        tokens = jax.random.categorical(x_key, jnp.log(z), shape=(8,))
        return z, jnp.bincount(tokens, length=3).astype(float)


MIXTURE = Mixture(3, "shared", 1e-3)
MIXED = {
    "logits": jnp.array([0.0, 0.5, 1.0]),
    "mean": jax.random.normal(jax.random.key(4), (3, SIZE)),
    "log_scale": jnp.ones(SIZE),
}


@pytest.mark.parametrize(
    ("model", "family", "theta", "exact"),
    [
        (Proportions(), Dirichlet(3), {}, lambda x: jnp.log(jnp.array(Proportions.prior) + x)),
        (MIXTURE, Categorical(3), MIXED, lambda x: MIXTURE.log_joints(MIXED, x)),
    ],
    ids=["simplex", "categories"],
)
def test_latents_without_smooth_draws_are_ranked_too(model, family, theta, exact):
    """The exact posterior passes and the prior, which knows nothing of x, does not."""
    case = make_case(FAMILY)
    experiment = replace(case.experiment, problem=Problem(model, family, None, None))
    context = context_of(case._replace(experiment=experiment, params=Params(theta, ())), 400)
    points, latents = draw(context)
    ranks = ranker(context, simulated(context, points, latents), DRAWS)
    test = Uniformity(400, DRAWS)
    found = ranks(np.asarray(jax.vmap(exact)(points.rows)))
    assert found.shape == (400, len(names(family.latent)))
    assert min(test.p_value(one) for one in found.T) > 2e-6
    ignorant = ranks(np.zeros((400, family.num_params)))
    assert min(test.p_value(one) for one in ignorant.T) < 1e-9


def test_a_latent_that_is_no_vector_is_refused_in_a_sentence():
    context = context_of(make_case(FAMILY), 20)
    points, latents = draw(context)
    with pytest.raises(ConfigError, match="one vector"):
        simulated(context, points, latents[:, :, None])


def test_a_q_that_draws_no_numbers_is_an_error_and_not_a_rank():
    context = context_of(make_case(FAMILY), 20)
    drawn = simulated(context, *draw(context))
    with pytest.raises(NonFiniteError, match="20 of 20 rows"):
        ranker(context, drawn, DRAWS)(np.full((20, FAMILY.num_params), np.nan))
