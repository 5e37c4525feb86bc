"""x with missing entries: the density of those that were seen, whatever stands under the mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_forms

from avi.abilities import Maskable, offers
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.inference.amortized import Amortized
from avi.likelihoods.bernoulli import Bernoulli
from avi.likelihoods.categorical import Categorical
from avi.likelihoods.gaussian import Gaussian
from avi.likelihoods.log_normal import LogNormal
from avi.likelihoods.negative_binomial import NegativeBinomial
from avi.likelihoods.poisson import Poisson
from avi.likelihoods.student_t import StudentT
from avi.models.dlgm import DLGM
from avi.models.linear_gaussian import LinearGaussian
from avi.models.poisson_lognormal import PoissonLogNormal
from avi.models.standardised import standardised
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.objectives.elbo import AnalyticKL
from avi.problem import Problem
from avi.types import DataSpec, Params, Scale

SIZE = 5
MASK = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0])
SEEN = np.flatnonzero(MASK)
NETWORK = MLP((7,), "tanh", 1.0)
ENCODER = MLP((6,), "tanh", 0.5)
Z = jnp.array([0.4, -1.1])
LIKELIHOODS = {
    "gaussian": Gaussian(0.7, True, 0.01),
    "own scales": Gaussian(0.7, True, 0.01, "own"),
    "network scales": Gaussian(0.7, True, 0.01, "network"),
    "student_t": StudentT(0.7, True, 0.01),
    "log_normal": LogNormal(0.7, True, 0.01),
    "bernoulli": Bernoulli(),
    "categorical": Categorical(3),
    "poisson": Poisson(),
    "negative_binomial": NegativeBinomial(2.0, "network", True),
}
MODELS = {name: VAE(2, NETWORK, one) for name, one in LIKELIHOODS.items()} | {
    "dlgm": DLGM(3, NETWORK, Gaussian(0.7, True, 0.01), layer_sizes=(1, 2), transition=NETWORK),
    "linear": LinearGaussian(2, "diagonal", 1e-3),
    "counts": PoissonLogNormal(2),
}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def of(values, mask=MASK):
    """Return x as a data set stores it."""
    return {"mask": jnp.asarray(mask), "value": jnp.asarray(values) * jnp.asarray(mask)}


def posed(name):
    """Return a model, parameters, a whole x of its support, and a z."""
    model = MODELS[name]
    x = (
        jnp.array([1.0, 2.0, 1.0, 2.0, 0.5])
        if name != "bernoulli"
        else jnp.array([1.0, 0, 1, 1, 0])
    )
    if model.support == "count":
        x = jnp.round(x)
    spec = DataSpec(of(x), of(0.4 * x, 0.8 * jnp.ones(SIZE)), model.support, 10)
    theta = model.init(jax.random.key(1), spec)
    return model, theta, x, jnp.resize(Z, model.latent.size)


@pytest.mark.parametrize("name", MODELS)
def test_the_density_is_that_of_the_model_of_what_was_seen(name):
    """Entries are independent given z, so what one adds is the difference that seeing it makes."""
    model, theta, x, z = posed(name)
    assert offers(Maskable, model, DiagonalGaussian(model.latent.size))
    whole = model.log_likelihood(theta, x, z)
    np.testing.assert_allclose(
        model.log_likelihood(theta, of(x, jnp.ones(SIZE)), z), whole, rtol=1e-13
    )
    alone = [model.log_likelihood(theta, of(x, row), z) for row in np.eye(SIZE)]
    np.testing.assert_allclose(sum(alone), whole, rtol=1e-12)
    seen = sum(alone[place] for place in SEEN)
    np.testing.assert_allclose(model.log_likelihood(theta, of(x), z), seen, rtol=1e-12)
    assert model.log_likelihood(theta, of(x, np.zeros(SIZE)), z) == 0


@pytest.mark.parametrize("name", MODELS)
def test_what_stands_under_the_mask_counts_for_nothing_and_gradients_are_finite(name):
    model, theta, x, z = posed(name)

    def joint(theta, value, z):
        return model.log_joint(theta, {"mask": MASK, "value": value}, z)

    for value in (-7.0, 1e30):
        other = jnp.where(MASK > 0, x, value)
        assert joint(theta, other, z) == joint(theta, x, z)
    slopes = jax.grad(joint, argnums=(0, 1, 2))(theta, x * MASK, z)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    np.testing.assert_array_equal(slopes[1][MASK == 0], 0)


@pytest.mark.parametrize("name", MODELS)
def test_draws_and_means_are_missing_where_x_is(name):
    model, theta, x, z = posed(name)
    for found in (
        model.decode(theta, z, of(x)),
        model.emit(theta, z, jax.random.key(2), of(x)),
        model.sample(theta, jax.random.key(2), of(x))[1],
    ):
        np.testing.assert_array_equal(found["mask"], MASK)
        np.testing.assert_array_equal(found["value"][MASK == 0], 0)
    whole = model.emit(theta, z, jax.random.key(2), x)
    np.testing.assert_array_equal(
        model.emit(theta, z, jax.random.key(2), of(x))["value"], whole * MASK
    )


def test_an_affine_decoder_has_the_marginal_of_the_columns_that_were_seen():
    """A VAE whose decoder is W z + mu: the bound at the posterior is log N of the seen columns."""
    draws = np.random.default_rng(3)
    weight, mean, noise = draws.normal(size=(SIZE, 2)), draws.normal(size=SIZE), 0.6
    oracle = closed_forms.LinearGaussian(weight, mean, np.full(SIZE, noise))
    oracle = oracle.observed(np.asarray(MASK) > 0)
    model = VAE(2, MLP((), "tanh", 1.0), Gaussian(noise, False, 0.01))
    decoder = {"layer0": {"kernel": jnp.asarray(weight.T), "bias": jnp.asarray(mean)}}
    theta = {"decoder": decoder, "likelihood": {}}
    x = draws.normal(size=SIZE)
    evidence, exact = oracle.log_evidence(x[SEEN]), LinearGaussian(2, "shared", 1e-3)
    linear = {"weight": weight, "mean": mean, "log_scale": np.log(noise)}
    found, precision = exact.posterior(linear, of(x))
    family = FullRankGaussian(2)
    for z in draws.normal(size=(3, 2)):  # log p(x, z) - log q(z) is log p(x) everywhere
        log_q = jax.scipy.stats.multivariate_normal.logpdf(z, found, jnp.linalg.inv(precision))
        ratio = model.log_joint(theta, of(x), z) - log_q
        np.testing.assert_allclose(ratio, evidence, rtol=1e-11)
    # Of nothing seen the posterior is the prior, where the ELBO is 0.
    problem = Problem(model, family, Amortized(ENCODER), AnalyticKL(4, antithetic=True))
    bound = problem.local(theta, of(x, np.zeros(SIZE))).bound(family.init(), jax.random.key(0))
    np.testing.assert_allclose(bound.value, 0, atol=1e-12)


def test_a_change_of_units_moves_the_bound_by_the_log_jacobian_of_what_was_seen():
    """The encoder sees the same numbers, so that q is the same, too."""
    model, family = MODELS["own scales"], DiagonalGaussian(2)
    x = np.array([3.0, 0.0, -1.0, 0.2, 0.0])
    factor, shift = np.array([2.0, 5.0, 0.1, 1e3, 7.0]), np.array([1990.0, 1.0, -3.0, 0.0, 4.0])
    bounds = []
    for values, scale in (
        (x, Scale(np.full(SIZE, 0.5), np.full(SIZE, 3.0))),
        (x * factor + shift, Scale(0.5 * factor + shift, 3.0 * factor)),
    ):
        spec = DataSpec(of(values), of(scale.mean, np.ones(SIZE)), "real", 10)
        problem = Problem(
            standardised(model, scale), family, Amortized(ENCODER), AnalyticKL(4, antithetic=True)
        )
        params = problem.init(jax.random.key(5), spec)
        bounds.append(problem.bound(params, of(values), jax.random.key(6)).value)
    np.testing.assert_allclose(bounds[0] - bounds[1], np.log(factor)[SEEN].sum(), rtol=1e-9)


def test_the_encoder_is_told_what_is_missing():
    """An entry that is missing is not one that is at the mean of its column."""
    family = DiagonalGaussian(2)
    problem = Problem(
        MODELS["gaussian"], family, Amortized(ENCODER), AnalyticKL(4, antithetic=True)
    )
    zero = np.zeros(SIZE)
    params = problem.init(jax.random.key(5), DataSpec(of(zero), of(zero), "real", 10))
    assert isinstance(params, Params)
    missing, at_mean = (
        problem.infer(params, of(zero, mask), jax.random.key(0)) for mask in (MASK, np.ones(SIZE))
    )
    assert not np.array_equal(missing, at_mean)
