"""The Dirichlet family against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from avi.conjugate import dirichlet
from avi.families.dirichlet import Dirichlet

FAMILY = Dirichlet(4)
GAMMA = np.array([0.3, 2.0, 1.0, 7.5])
LAM = np.log(GAMMA)  # numpy: jax has float64 only inside a test


def test_densities_and_entropies_are_those_of_scipy():
    theirs = scipy.stats.dirichlet(GAMMA)
    for z in theirs.rvs(5, random_state=0):
        np.testing.assert_allclose(FAMILY.log_prob(LAM, z), theirs.logpdf(z), rtol=1e-10)
    np.testing.assert_allclose(FAMILY.entropy(LAM, None), theirs.entropy(), rtol=1e-10)
    np.testing.assert_allclose(FAMILY.mean(LAM), theirs.mean(), rtol=1e-12)
    np.testing.assert_allclose(FAMILY.standard_deviation(LAM) ** 2, theirs.var(), rtol=1e-12)


def test_divergences_are_differences_of_expected_log_densities():
    prior = jnp.array([0.5, 0.5, 2.0, 1.0])
    expected_log_prior = jnp.sum((prior - 1) * FAMILY.expected_log(LAM)) - dirichlet(prior)
    cross = -FAMILY.entropy(LAM, None) - expected_log_prior
    np.testing.assert_allclose(FAMILY.kl_to(LAM, prior), cross, rtol=1e-10)
    np.testing.assert_allclose(FAMILY.kl_to(jnp.log(prior), prior), 0, atol=1e-12)


def test_draws_have_the_mean_and_the_expected_logarithm():
    z = jax.vmap(lambda key: FAMILY.sample(LAM, key))(jax.random.split(jax.random.key(0), 50_000))
    for values, expected in ((z, FAMILY.mean(LAM)), (jnp.log(z), FAMILY.expected_log(LAM))):
        error = values.std(0) / np.sqrt(len(z))
        assert (abs(values.mean(0) - expected) < 5 * error).all()  # false alarm: 8 * 6e-7


def test_relative_weights_are_expected_logarithms_up_to_a_constant():
    expected = FAMILY.expected_log(LAM)
    np.testing.assert_allclose(
        FAMILY.relative_weights(LAM), jnp.exp(expected - expected.max()), rtol=1e-12
    )
