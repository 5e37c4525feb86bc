"""NumPyro functions as models: their densities against avi's own, closed forms and integrals."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import biject_to, constraints
from plugins import numpyro_functions as functions
from scipy import special, stats

from avi.config.build import load_experiment
from avi.config.compose import compose
from avi.contracts.claims import broken
from avi.contracts.model import _of_densities
from avi.errors import ConfigError
from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.models.numpyro_function import NumpyroFunction
from avi.types import DataSpec

DRAWS = 2000


def model_of(name, size, **more):
    fields = {"space": "real", "plate": None, "inputs": None} | more
    return NumpyroFunction(getattr(functions, name), size, **fields)


def spec_of(*shape):
    example = jnp.ones(shape)
    return DataSpec(example, example, "real", 100, jnp.ones((5, *shape)))


def started(model, *shape, seed=0):
    return jax.jit(lambda key: model.init(key, spec_of(*shape)))(jax.random.key(seed))


@jax.jit
def shaken(tree, seed=1):
    keys = iter(jax.random.split(jax.random.key(seed), 99))
    return jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape), tree)


@partial(jax.jit, static_argnums=0)
def log_joint(model, theta, x, z):
    return model.log_joint(theta, x, z)


@partial(jax.jit, static_argnums=0)
def log_prior(model, theta):
    return model.log_prior(theta)


def close(found, expected, tolerance=1e-4):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_principal_components_are_those_of_avi():
    model = model_of("factors", 2)
    theta = shaken(started(model, 6))
    own = {
        "weight": theta["sites"]["weight"].T,
        "mean": jnp.zeros(6),
        "log_scale": theta["sites"]["noise"],
    }
    x, z = jax.random.normal(jax.random.key(3), (6,)), jnp.array([0.4, -1.1])
    close(log_joint(model, theta, x, z), log_joint(LinearGaussian(2, "shared", 1e-6), own, x, z))
    noise = float(jnp.exp(theta["sites"]["noise"]))
    prior = stats.norm.logpdf(np.asarray(theta["sites"]["weight"])).sum()
    close(log_prior(model, theta), prior + stats.halfnorm.logpdf(noise))


def test_a_plate_of_fixed_length_and_its_subsampling_change_nothing():
    """Batches and N / B are avi's: the bound of a row is that of the row."""
    whole, part = model_of("factors", 2), model_of("subsampled", 2, plate="rows")
    theta = shaken(started(whole, 6))
    x, z = jax.random.normal(jax.random.key(3), (6,)), jnp.array([0.4, -1.1])
    close(log_joint(part, theta, x, z), log_joint(whole, theta, x, z))
    close(log_prior(part, theta), log_prior(whole, theta))


def test_parameters_are_theta_and_constrained_ones_are_carried():
    model = model_of("autoencoder", 2)
    theta = shaken(started(model, 4))
    first, second, slope = (
        np.asarray(theta["params"][name], np.float64) for name in ("first", "second", "slope")
    )
    x, z = np.array([1.0, 0, 0, 1]), np.array([0.4, -1.1])
    logits = np.exp(slope) * (np.tanh(z @ first) @ second)
    likelihood = (x * logits - np.logaddexp(0, logits)).sum()
    close(log_joint(model, theta, x, jnp.asarray(z)), likelihood + stats.norm.logpdf(z).sum())
    assert log_prior(model, theta) == 0


def test_a_positive_site_is_integrated_to_a_negative_binomial():
    """The Jacobian of the bijection is counted: the integral over z is the known evidence."""
    model = model_of("rates", 1)
    theta = started(model, 1)
    shape = float(jnp.exp(theta["params"]["shape"]))
    grid = np.linspace(-14, 6, 4001)[:, None]
    density = jax.jit(jax.vmap(lambda x, z: model.log_joint(theta, x, z), (None, 0)))
    for count in (0.0, 3.0, 11.0):
        x = jnp.array([count])
        logs = density(x, grid)
        found = special.logsumexp(np.asarray(logs, np.float64)) + np.log(grid[1, 0] - grid[0, 0])
        close(found, stats.nbinom.logpmf(count, shape, 0.7 / 1.7), 1e-3)


def test_a_site_on_the_simplex_is_integrated_to_a_dirichlet_multinomial():
    model = model_of("shares", 2)
    theta, x = started(model, 3), jnp.array([1.0, 2.0, 3.0])
    axis = np.linspace(-12, 12, 401)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    logs = jax.jit(jax.vmap(lambda z: model.log_joint(theta, x, z)))(plane)
    found = special.logsumexp(np.asarray(logs, np.float64)) + 2 * np.log(axis[1] - axis[0])
    expected = stats.dirichlet_multinomial.logpmf([1, 2, 3], [0.8, 1.5, 2.0], 6)
    close(found, expected, 1e-3)


def test_a_component_is_the_latent_of_a_mixture():
    model = model_of("clusters", 3, space="category")
    theta = shaken(started(model, 2))
    weights = biject_to(constraints.simplex)(theta["sites"]["weights"])
    own = {
        "logits": jnp.log(weights),
        "mean": theta["sites"]["mean"],
        "log_scale": jnp.log(0.5) * jnp.ones(2),
    }
    x, mixture = jnp.array([0.3, -0.8]), Mixture(3, "shared", 1e-6)
    for z in range(3):
        found = log_joint(model, theta, x, jnp.asarray(z))
        close(found, log_joint(mixture, own, x, jnp.asarray(z)))


def test_a_discrete_site_beside_a_continuous_one_is_summed_over():
    model = model_of("with_outliers", 1)
    theta, x, z = started(model, 3), np.array([0.4, -0.1, 2.0]), 0.7
    mean = np.array([z, -z, 2 * z])
    parts = [
        np.log(share) + stats.norm.logpdf(x, mean, scale).sum()
        for share, scale in ((0.9, 0.4), (0.1, 3.0))
    ]
    expected = special.logsumexp(parts) + stats.norm.logpdf(z)
    close(log_joint(model, theta, jnp.asarray(x), jnp.array([z])), expected)


SCHOOLS = {"y": 0, "sigma": (1,)}


def test_eight_schools_given_the_population_is_a_normal_posterior():
    model = model_of("schools", 1, inputs=SCHOOLS)
    theta = shaken(started(model, 2))
    mu, tau = float(theta["sites"]["mu"]), float(jnp.exp(theta["sites"]["tau"]))
    close(log_prior(model, theta), stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, 0, 5))
    for effect, error in ((28.0, 15.0), (-3.0, 16.0)):
        x = jnp.array([effect, error])
        precision = 1 / tau**2 + 1 / error**2
        mean = (mu / tau**2 + effect / error**2) / precision
        evidence = stats.norm.logpdf(effect, mu, np.hypot(tau, error))
        for z in (0.0, 4.0):
            posterior = stats.norm.logpdf(z, mean, precision**-0.5)
            close(log_joint(model, theta, x, jnp.array([z])), evidence + posterior)


def test_a_logistic_regression_in_groups_takes_its_columns_by_name():
    model = model_of("voters", 1, inputs={"features": (0, 1, 2), "y": (3, 4, 5)})
    theta = shaken(started(model, 6))
    slope, spread = float(theta["sites"]["slope"]), float(jnp.exp(theta["sites"]["spread"]))
    features, y, z = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, 1.0]), 0.6
    logits = z + slope * features
    likelihood = (y * logits - np.logaddexp(0, logits)).sum()
    found = log_joint(model, theta, jnp.asarray(np.r_[features, y]), jnp.array([z]))
    close(found, likelihood + stats.norm.logpdf(z, 0, spread))
    _, drawn = jax.jit(model.sample)(theta, jax.random.key(5), np.r_[features, y])
    close(drawn[:3], features)
    assert set(np.asarray(drawn[3:]).tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (model_of("factors", 2), (4,)),
        (model_of("autoencoder", 2), (4,)),
        (model_of("rates", 1), (1,)),
        (model_of("shares", 2), (3,)),
        (model_of("clusters", 3, space="category"), (2,)),
        (model_of("with_outliers", 1), (3,)),
        (model_of("voters", 1, inputs={"features": (0, 1), "y": (2, 3)}), (4,)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_simulator_draws_from_the_density(model, shape):
    """Score and total probability, each false once in a million: Jacobians and priors included."""
    assert broken(_of_densities(model, spec_of(*shape), DRAWS)) == []


@pytest.mark.parametrize(("name", "size"), [("centred", 2), ("by_number", 1)])
def test_a_function_that_mixes_its_rows_is_found(name, size):
    """One row at a time it would be another model, without a word."""
    claims = broken(_of_densities(model_of(name, 1), spec_of(size), 500))
    assert any("a row is scored alike alone and among others" in str(one) for one in claims)


def test_a_function_that_knows_more_of_its_rows_than_it_is_told_is_refused():
    with pytest.raises(ConfigError, match="cannot be called with 16 rows"):
        list(_of_densities(model_of("with_a_table", 1), spec_of(1), 500))


def test_a_plate_inside_that_of_the_rows_is_part_of_an_observation():
    model = model_of("panels", 4)
    theta, x, z = started(model, 3), np.array([0.4, -0.1, 2.0]), np.array([0.5, 0.1, -0.7, 1.2])
    kinds = np.logaddexp(
        np.log(0.7) + stats.norm.logpdf(x, z[1:]), np.log(0.3) + stats.norm.logpdf(x, z[1:] + 1)
    )
    prior = stats.norm.logpdf(z[0]) + stats.norm.logpdf(z[1:], z[0], 0.5).sum()
    close(log_joint(model, theta, jnp.asarray(x), jnp.asarray(z)), kinds.sum() + prior)
    assert broken(_of_densities(model, spec_of(3), 500)) == []


@pytest.mark.parametrize(
    ("model", "shape", "said"),
    [
        (model_of("factors", 3), (4,), "Try model.latent_size=2."),
        (model_of("factors", 3, space="category"), (4,), "Try model.space=real."),
        (model_of("clusters", 3), (2,), "model.space=category model.latent_size=3"),
        (model_of("clusters", 4, space="category"), (2,), "Try model.latent_size=3."),
        (model_of("two_plates", 1), (1,), "several plates over the data (first, second)"),
        (model_of("no_plate", 1), (1,), "no plate that is as long as its data"),
        (model_of("observed_outside", 1), (1,), "the site x is observed outside the plate rows"),
        (model_of("factored", 1), (1,), "the factor penalty"),
        (model_of("chosen_once", 1), (1,), "the discrete site kind cannot be summed over"),
        (model_of("counted", 1), (1,), "the discrete site number cannot be summed over"),
        (model_of("unobserved", 1), (1,), "no site is observed"),
        (model_of("computed", 1), (2,), "the site a observes 1 of the 2 numbers in a row"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_cannot_be_carried_is_refused_with_the_name_of_the_site(model, shape, said):
    with pytest.raises(ConfigError) as refused:
        started(model, *shape)
    assert said in str(refused.value)


def test_threads_that_call_a_function_at_once_do_not_meet():
    """Training compiles its loop beside the first state; NumPyro's handlers are the process's."""
    model = model_of("factors", 2)
    theta, x, z = started(model, 6), jnp.ones(6), jnp.zeros(2)

    def shapes(number):
        del number
        drawn = jax.eval_shape(lambda: model.sample(theta, jax.random.key(0), x))
        return jax.eval_shape(model.log_joint, theta, x, z).shape, drawn[1].shape

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(shapes, range(60))) == {((), (6,))}


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        ("schools", None, "Try 'model.inputs={y: [<columns of x>], sigma: [<columns of x>]}'."),
        ("schools", {"y": (0,)}, "the arguments of schools are y, sigma; got y."),
        ("schools", {"y": (0,), "sigmas": (1,)}, "got y, sigmas."),
        ("schools", {"y": (0,), "sigma": (7,)}, "the columns of x are 0 to 1; 7 is none"),
        ("schools", {"y": (0,), "sigma": (-1,)}, "the columns of x are 0 to 1; -1 is none"),
        ("schools", {"y": (0,), "sigma": (0,)}, "each stands once, for one argument"),
        ("schools", {"y": (0,), "sigma": ()}, "each stands once, for one argument"),
        ("scaled", None, "the site x is scaled"),
        ("by_row", None, "the parameter shift has one value for each row"),
    ],
)
def test_arguments_scales_and_parameters_that_do_not_fit_are_refused(name, inputs, said):
    model = model_of(name, 1, inputs=inputs)
    with pytest.raises(ConfigError) as refused:
        list(_of_densities(model, spec_of(2 if name == "schools" else 1), 200))
    assert said in str(refused.value)


def test_a_function_is_run_only_from_a_package_that_the_user_names(monkeypatch):
    words = ["model=numpyro", "model.function=plugins.numpyro_functions.factors"]
    tree = compose([*words, "model.latent_size=2"])[0].tree
    monkeypatch.delenv("AVI_PLUGINS", raising=False)
    with pytest.raises(ConfigError, match="Try AVI_PLUGINS=plugins before"):
        load_experiment(tree)
    monkeypatch.setenv("AVI_PLUGINS", "plugins")
    assert load_experiment(tree).problem.model == model_of("factors", 2)
