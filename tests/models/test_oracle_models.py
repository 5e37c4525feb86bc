"""Models with exact answers: counts, hierarchies, sequences, missing entries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_forms
from oracles.statistics import assert_mean_is
from plugins.coupling import CouplingFlow

from avi.errors import ConfigError
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.models.linear_gaussian import LinearGaussian
from avi.models.normal_hierarchy import NormalHierarchy
from avi.models.poisson_lognormal import PoissonLogNormal
from avi.models.state_space import StateSpace
from avi.objectives.elbo import ClosedFormElbo
from avi.problem import require
from avi.types import DataSpec

COUNTS = (PoissonLogNormal(2), jnp.array([0.0, 3.0, 1.0]))
HIERARCHY = (
    NormalHierarchy(4, 2.0),
    {"scale": jnp.array([0.5, 1.0, 2.0]), "value": jnp.array([1.0, -0.4, 3.0])},
)
SEQUENCE = (StateSpace(4), jnp.array([0.3, 1.2, -0.5, 0.9]))
MASKED = (
    LinearGaussian(2, "diagonal", 1e-3),
    {"mask": jnp.array([1.0, 0.0, 1.0, 1.0]), "value": jnp.array([0.7, 0.0, -1.1, 2.0])},
)
MODELS = [COUNTS, HIERARCHY, SEQUENCE, MASKED]
every_model = pytest.mark.parametrize(
    ("model", "x"), MODELS, ids=["counts", "hierarchy", "sequence", "masked"]
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def some_theta(model, x):
    """Return parameters without symmetry: the initial ones plus noise."""
    theta = model.init(jax.random.key(0), DataSpec(x, x, model.support, 10))
    leaves, tree = jax.tree.flatten(theta)
    draws = np.random.default_rng(0)
    return jax.tree.unflatten(
        tree, [leaf + 0.3 * draws.standard_normal(leaf.shape) for leaf in leaves]
    )


@every_model
def test_the_score_of_simulated_data_has_mean_zero(model, x):
    theta = some_theta(model, x)

    def score(key):
        z, drawn = model.sample(theta, key, x)
        gradient = jax.grad(model.log_joint)(theta, drawn, z)
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(gradient)])

    assert_mean_is(jax.jit(jax.vmap(score))(jax.random.split(jax.random.key(1), 30_000)), 0.0)


def joint_normal(model, theta, x):
    """Return the precision of z given x and log p(x) of a model in which (z, x) is normal."""
    origin = jnp.zeros(model.latent.size)
    log_joint = jax.jit(lambda z: model.log_joint(theta, x, z))
    value, slope = jax.value_and_grad(log_joint)(origin)
    precision = -np.asarray(jax.hessian(log_joint)(origin))
    mean = np.linalg.solve(precision, np.asarray(slope))
    # log p(x) = log p(x, 0) - log p(0 | x), by Bayes' rule.
    return precision, value - closed_forms.log_normal(origin, mean, np.linalg.inv(precision))


@pytest.mark.parametrize(("model", "x"), MODELS[1:], ids=["hierarchy", "sequence", "masked"])
def test_the_evidence_is_the_joint_over_the_posterior(model, x):
    theta = some_theta(model, x)
    _, expected = joint_normal(model, theta, x)
    np.testing.assert_allclose(model.log_evidence(theta, x), expected, rtol=1e-10)


def test_the_state_space_evidence_is_that_of_its_autocovariance():
    model, x = SEQUENCE
    theta = some_theta(model, x)
    persistence = np.tanh(theta["arctanh_persistence"])
    lags = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    covariance = persistence**lags + np.exp(2 * theta["log_scale"]) * np.eye(4)
    expected = closed_forms.log_normal(np.asarray(x), np.zeros(4), covariance)
    np.testing.assert_allclose(model.log_evidence(theta, x), expected, rtol=1e-12)


def test_the_hierarchy_has_the_arrow_precision():
    model, x = HIERARCHY
    theta = some_theta(model, x)
    between = np.exp(2 * theta["log_between"])
    expected = np.diag([1 / 4 + 3 / between, *(1 / between + 1 / np.asarray(x["scale"]) ** 2)])
    expected[0, 1:] = expected[1:, 0] = -1 / between
    np.testing.assert_allclose(joint_normal(model, theta, x)[0], expected, rtol=1e-10, atol=1e-12)


def test_missing_entries_are_as_if_they_had_never_been():
    model, x = MASKED
    theta = jax.tree.map(np.asarray, some_theta(model, x))
    oracle = closed_forms.LinearGaussian(
        theta["weight"], theta["mean"], np.exp(theta["log_scale"])
    ).observed(np.asarray(x["mask"]) > 0)
    seen = np.asarray(x["value"])[np.asarray(x["mask"]) > 0]
    np.testing.assert_allclose(model.log_evidence(theta, x), oracle.log_evidence(seen), rtol=1e-12)
    mean, precision = model.posterior(theta, x)
    np.testing.assert_allclose(precision, oracle.precision, rtol=1e-12)
    np.testing.assert_allclose(mean, oracle.posterior_mean(seen), rtol=1e-12)
    full = {"mask": jnp.ones(4), "value": x["value"]}
    np.testing.assert_allclose(
        model.log_evidence(theta, full), model.log_evidence(theta, x["value"]), rtol=1e-13
    )
    assert np.all(np.asarray(model.decode(theta, jnp.ones(2), x)["value"])[1] == 0)


def test_the_mean_of_a_masked_model_starts_at_the_mean_of_what_was_seen():
    model, x = MASKED
    mean = {"mask": jnp.full(4, 0.5), "value": jnp.array([1.0, 2.0, 3.0, 4.0])}
    theta = model.init(jax.random.key(0), DataSpec(x, mean, "real", 10))
    np.testing.assert_allclose(theta["mean"], [2, 4, 6, 8])


@pytest.mark.parametrize("family", [DiagonalGaussian(2), FullRankGaussian(2)], ids=repr)
def test_the_closed_form_of_counts_is_the_mean_over_q(family):
    model, x = COUNTS
    theta = some_theta(model, x)
    lam = 0.4 * jax.random.normal(jax.random.key(5), (family.num_params,))
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    grid = np.stack([axis.ravel() for axis in np.meshgrid(nodes, nodes)], axis=1)

    def one(eps):
        z = family.transport(lam, eps)
        return model.log_joint(theta, x, z) - family.log_prob(lam, z)

    expected = np.outer(weights, weights).ravel() @ np.asarray(jax.vmap(one)(grid))
    np.testing.assert_allclose(model.elbo(theta, x, family, lam), expected, rtol=1e-10)


def test_counts_refuse_a_closed_form_that_is_not_theirs():
    model, _ = COUNTS
    require(ClosedFormElbo(), model, FullRankGaussian(2))
    with pytest.raises(ConfigError, match="closed form; got .* CouplingFlow. Try objective=elbo"):
        require(ClosedFormElbo(), model, CouplingFlow(2))


def test_sizes_that_do_not_fit_the_data_are_refused_with_what_to_type():
    spec = DataSpec(HIERARCHY[1], HIERARCHY[1], "real", 10)
    with pytest.raises(ConfigError, match=r"Try model\.latent_size=4"):
        NormalHierarchy(6, 1.0).init(jax.random.key(0), spec)
    with pytest.raises(ConfigError, match=r"Try model\.latent_size=4"):
        StateSpace(12).init(jax.random.key(0), DataSpec(SEQUENCE[1], SEQUENCE[1], "real", 10))
