"""Likelihoods of counts, codes, positive and heavy-tailed data against scipy's densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from avi.datasets.suspicions import suspicions
from avi.datasets.tables import Table
from avi.errors import ConfigError
from avi.likelihoods.bernoulli import Bernoulli
from avi.likelihoods.categorical import Categorical
from avi.likelihoods.gaussian import Gaussian
from avi.likelihoods.grey_bernoulli import GreyBernoulli
from avi.likelihoods.log_normal import LogNormal
from avi.likelihoods.negative_binomial import NegativeBinomial
from avi.likelihoods.poisson import Poisson
from avi.likelihoods.student_t import StudentT
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.types import DataSpec

COUNTS = np.array([0.0, 1.0, 4.0, 37.0])
REAL = np.array([-1.3, 0.2, 8.0, 0.9])
OUTPUTS = np.array([0.4, -0.7, 1.6, 3.1])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def same(found, expected):
    np.testing.assert_allclose(found, np.sum(expected), rtol=1e-9)


def test_poisson():
    same(Poisson().log_prob({}, OUTPUTS, COUNTS), stats.poisson.logpmf(COUNTS, np.exp(OUTPUTS)))


@pytest.mark.parametrize("dispersion", ["shared", "own", "network"])
@pytest.mark.parametrize("zero_inflated", [False, True])
def test_negative_binomial(dispersion, zero_inflated):
    likelihood = NegativeBinomial(1.0, dispersion, zero_inflated)
    r = {"shared": np.full(4, 0.7), "own": np.array([0.2, 1.0, 3.0, 9.0])}.get(dispersion)
    r = np.array([0.5, 2.0, 1.5, 4.0]) if r is None else r
    params = {
        "shared": {"log_concentration": jnp.log(0.7)},
        "own": {"log_concentration": jnp.log(r)},
        "network": {},
    }[dispersion]
    logit = np.array([-1.0, 0.5, -2.0, 0.0])
    rows = [OUTPUTS, *([np.log(r)] * (dispersion == "network")), *([logit] * zero_inflated)]
    outputs = jnp.asarray(rows if len(rows) > 1 else OUTPUTS)
    expected = stats.nbinom.logpmf(COUNTS, r, r / (r + np.exp(OUTPUTS)))
    if zero_inflated:
        extra = 1 / (1 + np.exp(-logit))
        expected = np.log(extra * (COUNTS == 0) + (1 - extra) * np.exp(expected))
    same(likelihood.log_prob(params, outputs, jnp.asarray(COUNTS)), expected)


def test_a_negative_binomial_of_huge_concentration_is_a_poisson():
    likelihood = NegativeBinomial(1e8, "shared", zero_inflated=False)
    found = likelihood.log_prob(likelihood.init(4), jnp.asarray(OUTPUTS), jnp.asarray(COUNTS))
    np.testing.assert_allclose(found, Poisson().log_prob({}, OUTPUTS, COUNTS), rtol=1e-5)


def test_student_t_and_its_limit():
    params = {"log_scale": jnp.log(0.6)}
    likelihood = StudentT(1.0, True, 0.01, "shared", 3.0)
    expected = stats.t.logpdf(REAL, 3.0, OUTPUTS, 0.6)
    same(likelihood.log_prob(params, jnp.asarray(OUTPUTS), REAL), expected)
    many, gaussian = StudentT(1.0, True, 0.01, "shared", 1e7), Gaussian(1.0, True, 0.01)
    np.testing.assert_allclose(
        many.log_prob(params, jnp.asarray(OUTPUTS), REAL),
        gaussian.log_prob(params, jnp.asarray(OUTPUTS), REAL),
        rtol=1e-5,
    )


def test_log_normal():
    x, scale = np.exp(REAL / 2), np.array([0.3, 0.5, 1.0, 2.0])
    likelihood = LogNormal(1.0, True, 0.01, "own")
    params = {"log_scale": jnp.log(scale)}
    expected = stats.lognorm.logpdf(x, scale, scale=np.exp(OUTPUTS))
    same(likelihood.log_prob(params, jnp.asarray(OUTPUTS), jnp.asarray(x)), expected)


@pytest.mark.parametrize("scales", ["own", "network"])
def test_a_scale_of_each_entry(scales):
    likelihood = Gaussian(1.0, True, 0.25, scales)
    scale = np.array([0.3, 0.5, 1.0, 0.1])
    params = {"log_scale": jnp.log(scale)} if scales == "own" else {}
    outputs = OUTPUTS if scales == "own" else np.stack([OUTPUTS, np.log(scale)])
    expected = stats.norm.logpdf(REAL, OUTPUTS, np.maximum(scale, 0.25))
    same(likelihood.log_prob(params, jnp.asarray(outputs), REAL), expected)
    said = likelihood.remarks(params)
    assert ["scale of 1 components is at its floor" in one for one in said] == [True] * len(said)
    assert len(said) == (scales == "own")


def test_a_fixed_scale_is_one_for_all():
    with pytest.raises(ValueError, match="Try likelihood.learn_scale=true"):
        Gaussian(1.0, False, 0.1, "own")


def test_codes():
    codes, logits = np.array([0.0, 2.0, 1.0, 2.0]), np.random.default_rng(0).normal(size=(3, 4))
    shares = np.exp(logits) / np.exp(logits).sum(0)
    likelihood = Categorical(3)
    expected = np.log(shares[codes.astype(int), np.arange(4)])
    same(likelihood.log_prob({}, jnp.asarray(logits), jnp.asarray(codes)), expected)
    for strange in (3.0, -1.0, 0.5):
        x = jnp.asarray(codes).at[1].set(strange)
        assert np.isnan(likelihood.log_prob({}, jnp.asarray(logits), x))


def test_codes_beyond_the_last_are_refused_before_training():
    model, rows = VAE(2, MLP((4,), "tanh", 1.0), Categorical(3)), jnp.array([[0.0, 1.0, 4.0]])
    data = DataSpec(rows[0], rows[0], "count", 1, rows)
    with pytest.raises(ConfigError, match="Try likelihood.categories=5"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), data))


def test_grey_values_are_scored_by_a_cross_entropy_and_it_is_said():
    bits, grey = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.2, 0.9, 0.5, 0.0])
    likelihood, outputs = GreyBernoulli(), jnp.asarray(OUTPUTS)
    same(likelihood.log_prob({}, outputs, bits), Bernoulli().log_prob({}, outputs, bits))
    shares = 1 / (1 + np.exp(-OUTPUTS))
    expected = grey * np.log(shares) + (1 - grey) * np.log1p(-shares)
    same(likelihood.log_prob({}, outputs, grey), expected)
    assert "no density" in likelihood.remarks({})[0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.random.default_rng(0).poisson(0.7, (50, 4)), True),
        (np.random.default_rng(0).poisson(40.0, (50, 4)), False),  # ages, years: hardly a zero
        (np.random.default_rng(0).integers(0, 2, (50, 4)), False),  # bits
        (np.random.default_rng(0).poisson(0.7, (50, 4)) + 0.5, False),
        (np.random.default_rng(0).integers(0, 256, (50, 64)) * (np.arange(64) > 20), False),
    ],
)
def test_whole_numbers_with_many_zeros_are_called_counts(rows, said):
    found = suspicions(Table(rows, "rows.npy"), "real", single=False)
    assert any("likelihood=negative_binomial" in one for one in found) is said
