"""Estimators of log p(x) where log p(x) is known."""

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.statistics import assert_mean_is
from plugins.coupling import CouplingFlow

from avi.conjugate import LOG_TWO_PI
from avi.errors import ConfigError
from avi.evidence.ais import AnnealedImportanceSampling
from avi.evidence.auto import FirstThatFits
from avi.evidence.iwae import ImportanceSampling, pareto_khat
from avi.evidence.none import NoEvidence
from avi.evidence.quadrature import Quadrature
from avi.families.gaussian import DiagonalGaussian
from avi.likelihoods.bernoulli import Bernoulli
from avi.models.linear_gaussian import LinearGaussian
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.problem import fit
from avi.types import DataSpec, Target

LATENT, SIZE, POINTS = 4, 8, 256
KEY = jax.random.key(12)
MODEL, FAMILY = LinearGaussian(LATENT, "diagonal", 1e-3), DiagonalGaussian(LATENT)
THETA = {
    "weight": jax.random.normal(jax.random.key(0), (SIZE, LATENT)),
    "mean": jnp.zeros(SIZE),
    "log_scale": jnp.full(SIZE, -0.3),
}


def ais(**changes):
    settings = {
        "num_chains": 8,
        "num_temperatures": 12,
        "max_temperatures": 24,
        "leapfrog": 5,
        "acceptance": 0.65,
        "pilot_chains": 4,
        "start": "posterior_approximation",
    }
    return AnnealedImportanceSampling(**(settings | changes))


def best(x):
    mean, precision = MODEL.posterior(THETA, x)
    return FAMILY.member(mean, 1 / jnp.sqrt(jnp.diag(precision)))


@pytest.fixture(scope="module")
def sandwich():
    """Both bounds minus log p(x), on observations drawn from the model."""

    def one(key):
        draw_key, ais_key = jax.random.split(key)
        z, x = MODEL.sample(THETA, draw_key, jnp.zeros(SIZE))
        target, lam = Target(MODEL, THETA, x), best(x)
        lower = ais()(target, FAMILY, lam, ais_key)
        upper = ais().upper(target, FAMILY, lam, z, ais_key)
        exact = MODEL.log_evidence(THETA, x)
        return lower.value - exact, upper.value - exact, lower.ess

    keys = jax.random.split(jax.random.key(1), POINTS)
    return [np.asarray(one, np.float64) for one in jax.jit(jax.vmap(one))(keys)]


def test_the_weights_of_ais_are_unbiased(sandwich):
    lower, upper, _ = sandwich
    assert_mean_is(np.exp(lower), 1.0, smallest_detectable=0.25)
    assert_mean_is(np.exp(-upper), 1.0)


def test_the_truth_lies_between_the_two_bounds(sandwich):
    lower, upper, ess = sandwich
    error = np.hypot(lower.std(), upper.std()) / np.sqrt(POINTS)
    assert lower.mean() < 4.75 * error
    assert upper.mean() > -4.75 * error
    assert upper.mean() - lower.mean() < 0.5
    assert np.all((ess >= 1) & (ess <= 8))


def test_more_temperatures_than_the_limit_are_refused():
    assert ais().doubled().num_temperatures == 24
    assert ais().doubled().doubled() is None


def test_temperatures_run_from_zero_to_one_and_are_dense_at_the_ends():
    betas = np.asarray(ais().temperatures())
    assert betas[0] == 0
    assert betas[-1] == 1
    steps = np.diff(betas)
    assert np.all(steps > 0)
    assert steps[0] < steps[len(steps) // 2] / 3


def test_without_transitions_the_expected_weight_is_the_elbo():
    """One temperature: log w = log p(x, z) - log q(z) at z ~ q, whatever happens afterwards."""
    x = jnp.ones(SIZE)
    target, lam = Target(MODEL, THETA, x), best(x)
    one = ais(num_temperatures=1, num_chains=1)
    keys = jax.random.split(jax.random.key(4), 2000)
    values = jax.jit(jax.vmap(lambda key: one(target, FAMILY, lam, key).value))(keys)
    precision = np.asarray(MODEL.posterior(THETA, x)[1], np.float64)
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert_mean_is(values, MODEL.log_evidence(THETA, x) - gap)


def test_quadrature_is_exact_in_two_dimensions_even_from_a_wrong_lam():
    model, family = LinearGaussian(2, "shared", 1e-3), DiagonalGaussian(2)
    theta = {
        "weight": jax.random.normal(jax.random.key(2), (5, 2)),
        "mean": jnp.zeros(5),
        "log_scale": jnp.array(-1.0),
    }
    target = Target(model, theta, jnp.ones(5))
    found = jax.jit(lambda lam: Quadrature(201)(target, family, lam, jax.random.key(0)))(
        family.init()
    )
    np.testing.assert_allclose(found.value, model.log_evidence(theta, jnp.ones(5)), atol=1e-4)
    assert found.standard_error < 1e-4


@pytest.mark.parametrize("waves", [12.0, 200.0])
def test_quadrature_knows_a_comb_of_modes_or_that_it_does_not(waves):
    """x = 0.4 of N(sin(waves z), 0.3^2), z ~ N(0, 1), against the trapezoid rule in numpy."""

    def log_likelihood(xp, z):
        return -0.5 * ((0.4 - xp.sin(waves * z)) / 0.3) ** 2 - np.log(0.3)

    model = SimpleNamespace(
        log_joint=lambda theta, x, z: log_likelihood(jnp, z[0]) - 0.5 * z[0] ** 2 - LOG_TWO_PI,
        sample=lambda theta, key, like: (jax.random.normal(key, (1,)), like),
    )
    z = np.linspace(-9, 9, 400_001)
    logs = log_likelihood(np, z) - 0.5 * z**2 - LOG_TWO_PI
    exact = np.logaddexp.reduce(logs) + np.log(z[1] - z[0])
    family = DiagonalGaussian(1)
    target = Target(model, None, None)
    found = jax.jit(lambda key: Quadrature(201)(target, family, family.init(), key))(KEY)
    assert abs(found.value - exact) < found.standard_error + 1e-3
    assert (found.standard_error < 0.01) == (waves < 100)


def vae(latent_size):
    model = VAE(latent_size, MLP((8,), "tanh", 2.0), Bernoulli())
    data = DataSpec(jnp.zeros(6), jnp.full(6, 0.5), "binary", 10)
    return model, jax.jit(lambda: model.init(jax.random.key(3), data))()


def test_importance_sampling_agrees_with_quadrature_on_a_nonlinear_decoder():
    model, theta = vae(2)
    family = DiagonalGaussian(2)
    target = Target(model, theta, jnp.array([1.0, 0, 1, 1, 0, 0]))
    rule = jax.jit(lambda lam: Quadrature(201)(target, family, lam, jax.random.key(0)))
    exact = rule(family.init())
    keys = jax.random.split(jax.random.key(5), 50)
    sampler = ImportanceSampling(500, 1.3, 0.5)
    found = jax.jit(jax.vmap(lambda key: sampler(target, family, family.init(), key)))(keys)
    assert_mean_is(np.exp(np.asarray(found.value, np.float64) - float(exact.value)), 1.0)
    # The delta method's error is the spread between keys.
    spread = np.asarray(found.value, np.float64).std(ddof=1)
    assert 0.5 * spread < float(found.standard_error.mean()) < 2 * spread


def test_quadrature_refuses_three_dimensions_and_auto_goes_past_it():
    model, _ = vae(3)
    family = DiagonalGaussian(3)
    with pytest.raises(ConfigError, match="Try evidence=ais"):
        fit(Quadrature(201), model, family)
    chosen = fit(FirstThatFits((Quadrature(201), ais(), NoEvidence())), model, family)
    assert isinstance(chosen, AnnealedImportanceSampling)


@dataclass(frozen=True)
class Opaque:
    """A Gaussian that offers nothing beyond what every family must."""

    deviation: float = 1.0
    latent = FAMILY.latent

    def mean(self, lam):
        return FAMILY.mean(lam)

    def standard_deviation(self, lam):
        return self.deviation * FAMILY.standard_deviation(lam)


@cache
def annealed(family, start):
    target, lam = Target(MODEL, THETA, jnp.ones(SIZE)), best(jnp.ones(SIZE))
    estimator = ais(start=start)
    lower = jax.jit(lambda: estimator(target, family, lam, jax.random.key(8)).value)()
    z = jnp.full(LATENT, 0.3)
    upper = jax.jit(lambda: estimator.upper(target, family, lam, z, jax.random.key(8)).value)()
    return np.array([lower, upper])


@pytest.mark.parametrize("start", ["posterior_approximation", "prior", "both"])
def test_ais_starts_from_the_moments_of_a_family_that_does_not_say_that_it_is_gaussian(start):
    # The same start, written as m + s u instead of by the transport of the family.
    np.testing.assert_allclose(annealed(Opaque(), start), annealed(FAMILY, start), rtol=1e-4)


@pytest.mark.parametrize("deviation", [np.nan, np.inf, 0.0])
def test_ais_starts_from_the_prior_where_a_family_has_no_moments(deviation):
    found = annealed(Opaque(deviation), "posterior_approximation")
    np.testing.assert_array_equal(found, annealed(Opaque(), "prior"))


def test_ais_is_unbiased_whatever_the_family_it_starts_from():
    family = CouplingFlow(LATENT)

    def one(key):
        draw_key, lam_key, ais_key = jax.random.split(key, 3)
        z, x = MODEL.sample(THETA, draw_key, jnp.zeros(SIZE))
        bend = 0.3 * jax.random.normal(lam_key, (family.num_params,))
        lam = bend.at[: 2 * LATENT].set(best(x))
        target, exact = Target(MODEL, THETA, x), MODEL.log_evidence(THETA, x)
        lower = ais()(target, family, lam, ais_key).value - exact
        return lower, ais().upper(target, family, lam, z, ais_key).value - exact

    keys = jax.random.split(jax.random.key(9), POINTS)
    lower, upper = (np.asarray(one, np.float64) for one in jax.jit(jax.vmap(one))(keys))
    assert_mean_is(np.exp(lower), 1.0, smallest_detectable=0.25)
    assert_mean_is(np.exp(-upper), 1.0)


def test_khat_is_the_shape_of_an_exact_pareto_tail():
    """Weights U^-k have shape k; the sign convention is log w, not its negative."""
    uniform = jax.random.uniform(jax.random.key(6), (20, 4000))
    for shape in (0.3, 0.7):
        found = jax.jit(jax.vmap(pareto_khat))(-shape * jnp.log(uniform))
        error = float(found.std() / np.sqrt(20))
        assert abs(float(found.mean()) - shape) < 4.75 * error + 0.05


def test_khat_of_a_mean_field_optimum_is_that_of_theory():
    """The tail index of p / q* is 1 - lambda_min(D^-1/2 Lambda D^-1/2) (methods O9)."""
    correlation = 0.6
    precision = np.linalg.inv(np.array([[1, correlation], [correlation, 1]]))
    expected = 1 - np.linalg.eigvalsh(precision / precision[0, 0])[0]
    noise = jax.random.normal(jax.random.key(7), (40, 5000, 2)) / np.sqrt(precision[0, 0])
    log_p = -0.5 * jnp.einsum("...i,ij,...j", noise, precision, noise)
    log_q = -0.5 * precision[0, 0] * jnp.sum(noise**2, axis=-1)
    found = jax.jit(jax.vmap(pareto_khat))(log_p - log_q)
    assert abs(float(found.mean()) - expected) < 0.15  # finite samples are biased down


@dataclass(frozen=True)
class Even:
    """z ~ N(0, w^2 I), x_i ~ N(z_i^2, s^2): a posterior with two modes in each dimension."""

    scale: float
    width: float = 1.0

    def log_joint(self, theta, x, z):
        likelihood = jax.scipy.stats.norm.logpdf(x, z**2, self.scale)
        return jnp.sum(likelihood + jax.scipy.stats.norm.logpdf(z, 0, self.width))

    def sample(self, theta, key, like):
        z_key, x_key = jax.random.split(key)
        z = self.width * jax.random.normal(z_key, like.shape)
        return z, z**2 + self.scale * jax.random.normal(x_key, like.shape)

    def log_evidence(self, x):
        """Return log p(x) by a dense rule around the positive root alone, in numpy."""
        total = 0.0
        for value in np.asarray(x, np.float64):
            root = np.sqrt(value)
            reach = 40 * self.scale / (2 * root)
            z = np.linspace(max(root - reach, 0), root + reach, 400_001)
            logs = -0.5 * ((value - z**2) / self.scale) ** 2 - 0.5 * (z / self.width) ** 2
            logs -= np.log(2 * np.pi * self.scale * self.width)
            total += np.logaddexp.reduce(logs) + np.log(2 * (z[1] - z[0]))
        return total


@pytest.mark.parametrize("x", [[1.3], [0.4, 2.2]], ids=["1", "2"])
@pytest.mark.parametrize(("scale", "width"), [(0.005, 1.0), (0.1, 1.0), (0.5, 40.0)])
def test_quadrature_finds_every_mode_on_the_scale_of_the_prior(scale, width, x):
    """From a q that sits on one mode of two or four, or on none."""
    model, family = Even(scale, width), DiagonalGaussian(len(x))
    where = Target(model, None, jnp.asarray(x))
    rule = jax.jit(lambda lam: Quadrature(201)(where, family, lam, jax.random.key(0)))
    for mean in (np.sqrt(x), np.full(len(x), 7.0)):
        lam = family.member(jnp.asarray(mean), jnp.full(len(x), 0.05))
        found = rule(lam)
        assert abs(float(found.value) - model.log_evidence(x)) < 2e-3
        assert float(found.standard_error) < 2e-3


def test_annealing_from_the_prior_finds_the_modes_that_q_has_missed():
    """Eight modes, q on one: chains from q alone miss log 8 = 2.08 nats and see nothing wrong."""
    x = jnp.asarray([1.0, 1.5, 2.0])
    model, family = Even(0.3), DiagonalGaussian(3)
    lam = family.member(jnp.sqrt(x), jnp.full(3, 0.12))
    where, exact = Target(model, None, x), model.log_evidence(x)
    slow = {"num_chains": 32, "num_temperatures": 300, "leapfrog": 10}
    near, both = (
        jax.jit(lambda lam, start=start: ais(start=start, **slow)(where, family, lam, KEY))(lam)
        for start in ("posterior_approximation", "both")
    )
    assert exact - float(near.value) > 1.5
    assert float(near.standard_error) < 0.2
    assert float(both.apart) > 0
    assert abs(float(both.value) - exact) < 4.75 * float(both.standard_error)


def test_exact_evidence_of_single_precision_keeps_its_digits():
    """At a noise of 0.001 and data far from the origin: a residual, not a difference of squares."""
    theta = {"weight": np.ones((6, 2)) * [[1.0, -0.5]], "log_scale": np.array(np.log(1e-3))}
    theta |= {"mean": np.zeros(6)}
    theta["weight"] += 0.1 * np.arange(12).reshape(6, 2)
    model = LinearGaussian(2, "shared", 1e-3)
    x = theta["weight"] @ [0.7, -1.1] + 1e-3 * np.array([1, -1, 0.5, 0, -0.3, 0.8])

    def value(kind):
        cast = jax.tree.map(lambda leaf: jnp.asarray(leaf, kind), theta)
        return float(jax.jit(model.log_evidence)(cast, jnp.asarray(x, kind)))

    single = value(np.float32)
    with jax.enable_x64(True):
        double = value(np.float64)
    assert abs(single - double) < 0.05


def test_a_single_weight_has_no_tail_that_could_be_trusted():
    alone = jnp.where(jnp.arange(100) == 3, 0.0, -1e6)
    assert float(jax.jit(pareto_khat)(alone)) == np.inf
