"""Likelihoods: densities that integrate to one, draws of the same distribution, means of draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.statistics import assert_mean_is

from avi.likelihoods.bernoulli import Bernoulli
from avi.likelihoods.continuous_bernoulli import ContinuousBernoulli
from avi.likelihoods.gaussian import Gaussian

GAUSSIANS = [Gaussian(0.7, False, 0.01), Gaussian(0.7, True, 0.01)]
LIKELIHOODS = [Bernoulli(), ContinuousBernoulli(), *GAUSSIANS]
# Around zero the continuous Bernoulli changes from its exact forms to series, at 0.05.
LOGITS = [-60.0, -8.0, -0.051, -0.05, -0.049, -1e-3, -1e-9, 0.0, 1e-6, 0.03, 0.05, 0.06, 2.0, 40.0]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def log_density(likelihood, output):
    """Return x -> log p(x | output) for one component."""
    params = likelihood.init(1)
    return lambda x: likelihood.log_prob(params, jnp.array([output]), jnp.asarray(x)[None])


@pytest.mark.parametrize("logit", LOGITS)
def test_bernoulli_probabilities_sum_to_one(logit):
    zero, one = np.exp(jax.vmap(log_density(Bernoulli(), logit))(jnp.array([0.0, 1.0])))
    np.testing.assert_allclose(zero + one, 1, rtol=1e-14)
    np.testing.assert_allclose(Bernoulli().mean({}, jnp.array([logit])), [one], rtol=1e-14)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one_with_its_mean(logit):
    likelihood = ContinuousBernoulli()
    nodes, weights = np.polynomial.legendre.leggauss(80)
    x, weights = (nodes + 1) / 2, weights / 2
    probability = np.exp(np.asarray(jax.vmap(log_density(likelihood, logit))(x)))
    np.testing.assert_allclose(weights @ probability, 1, rtol=1e-12)
    mean = likelihood.mean({}, jnp.array([logit]))[0]
    np.testing.assert_allclose(mean, weights @ (x * probability), rtol=3e-11)


@pytest.mark.parametrize("logit", LOGITS)
def test_a_continuous_bernoulli_draw_inverts_the_distribution_function(logit):
    likelihood = ContinuousBernoulli()
    key = jax.random.key(0)
    outputs = jnp.full(200, logit)
    x = np.asarray(likelihood.sample({}, outputs, key))
    uniform = np.asarray(jax.random.uniform(key, (200,)))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    inside = x[:, None] * (nodes + 1) / 2
    probability = np.exp(jax.vmap(jax.vmap(log_density(likelihood, logit)))(inside))
    below = (probability @ weights) * x / 2
    expected = 1 - uniform if logit > 0 else uniform
    # At the edge of its range the series of the draw errs by 1e-6, of the density by 1e-12.
    np.testing.assert_allclose(below, expected, atol=2e-6)
    assert ((x >= 0) & (x <= 1)).all()


@pytest.mark.parametrize("likelihood", GAUSSIANS, ids=repr)
def test_gaussian_integrates_to_one(likelihood):
    x = np.linspace(-10, 10, 401)
    probability = np.exp(np.asarray(jax.vmap(log_density(likelihood, 0.4))(x)))
    np.testing.assert_allclose(probability.sum() * (x[1] - x[0]), 1, rtol=1e-12)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
def test_the_mean_is_that_of_the_draws(likelihood):
    params = likelihood.init(1)
    outputs = jnp.array([-1.5, -0.02, 0.04, 0.8])
    draw = jax.jit(jax.vmap(lambda key: likelihood.sample(params, outputs, key)))
    x = draw(jax.random.split(jax.random.key(2), 40_000))
    assert_mean_is(x, likelihood.mean(params, outputs))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
def test_a_log_density_sums_over_components(likelihood):
    # A mean in place of the sum would scale every bound by the number of pixels.
    params = likelihood.init(1)
    outputs, x = jnp.array([-1.5, 0.0, 0.8]), jnp.array([0.0, 1.0, 1.0])
    parts = [
        likelihood.log_prob(params, outputs[i : i + 1], x[i : i + 1]) for i in range(outputs.size)
    ]
    np.testing.assert_allclose(likelihood.log_prob(params, outputs, x), sum(parts), rtol=1e-14)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
def test_the_output_bias_gives_back_the_data_mean(likelihood):
    mean = jnp.array([0.1, 0.5, 0.9])
    got = likelihood.mean(likelihood.init(1), likelihood.output_bias(mean))
    np.testing.assert_allclose(got, mean, atol=1e-8)


def test_gradients_of_the_continuous_bernoulli_are_finite_and_continuous_at_zero():
    likelihood = ContinuousBernoulli()
    logits = jnp.array(LOGITS)
    gradient = jax.grad(lambda outputs: likelihood.log_prob({}, outputs, jnp.full(14, 0.3)))(logits)
    np.testing.assert_allclose(gradient, 0.3 - likelihood.mean({}, logits), atol=2e-9)


def test_a_learned_scale_never_falls_below_its_floor_and_says_so():
    likelihood = Gaussian(1.0, True, 0.5)
    low = {"log_scale": jnp.log(0.1)}
    at_floor = {"log_scale": jnp.log(0.5)}
    arguments = (jnp.zeros(3), jnp.ones(3))
    np.testing.assert_allclose(
        likelihood.log_prob(low, *arguments), likelihood.log_prob(at_floor, *arguments), rtol=1e-14
    )
    assert "floor 0.5" in likelihood.remarks(low)[0]
    assert likelihood.remarks({"log_scale": jnp.log(0.6)}) == []


@pytest.mark.parametrize(("scale", "floor"), [(1.0, 0.0), (0.1, 0.2), (1.0, -1.0)])
def test_a_gaussian_refuses_a_floor_above_its_scale(scale, floor):
    with pytest.raises(ValueError, match=r"Try likelihood\.floor=0\.01"):
        Gaussian(scale, True, floor)
