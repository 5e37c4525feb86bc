"""Models: simulator and density agree, evidence and posterior are the exact ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_forms

from avi.likelihoods.bernoulli import Bernoulli
from avi.likelihoods.continuous_bernoulli import ContinuousBernoulli
from avi.likelihoods.gaussian import Gaussian
from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.types import DataSpec

DECODER = MLP((5,), "tanh", 1.0)
MODELS = [
    LinearGaussian(2, "shared", 1e-3),
    LinearGaussian(2, "diagonal", 1e-3),
    Mixture(3, "shared", 1e-2),
    Mixture(3, "own", 1e-2),
    VAE(2, DECODER, Bernoulli()),
    VAE(2, DECODER, ContinuousBernoulli()),
    VAE(2, DECODER, Gaussian(0.7, True, 0.01)),
]
SPEC = DataSpec(jnp.zeros(4), jnp.full(4, 0.4), "real", 100)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def some_theta(model, spec=SPEC):
    """Return parameters without symmetry: the initial ones plus noise."""
    theta = model.init(jax.random.key(0), spec)
    leaves, tree = jax.tree.flatten(theta)
    draws = np.random.default_rng(0)
    return jax.tree.unflatten(
        tree, [leaf + 0.4 * draws.standard_normal(leaf.shape) for leaf in leaves]
    )


def flat(tree):
    """Return all numbers of a tree as one vector."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_the_bernoulli_vae_is_a_distribution_over_all_binary_x():
    model = VAE(1, MLP((3,), "tanh", 1.0), Bernoulli())
    theta = some_theta(model, SPEC._replace(example=jnp.zeros(4)))
    bits = jnp.array([[i >> j & 1 for j in range(4)] for i in range(16)], float)
    total = jnp.exp(jax.vmap(lambda x: model.log_likelihood(theta, x, jnp.array([0.7])))(bits))
    np.testing.assert_allclose(total.sum(), 1, rtol=1e-13)


@pytest.mark.parametrize("noise", ["shared", "diagonal"])
def test_linear_gaussian_evidence_and_posterior_are_those_of_the_joint_normal(noise):
    model = LinearGaussian(2, noise, 1e-3)
    theta = some_theta(model)
    scale = np.broadcast_to(np.exp(theta["log_scale"]), 4)
    oracle = closed_forms.LinearGaussian(
        np.asarray(theta["weight"]), np.asarray(theta["mean"]), scale
    )
    x = np.array([0.3, -1.0, 2.0, 0.1])
    np.testing.assert_allclose(model.log_evidence(theta, x), oracle.log_evidence(x), rtol=1e-13)
    mean, precision = model.posterior(theta, x)
    np.testing.assert_allclose(mean, oracle.posterior_mean(x), rtol=1e-12)
    np.testing.assert_allclose(precision, oracle.precision, rtol=1e-12)


@pytest.mark.parametrize("scales", ["shared", "own"])
def test_mixture_evidence_sums_over_its_components(scales):
    model = Mixture(3, scales, 1e-2)
    theta = jax.tree.map(np.asarray, some_theta(model))
    x = np.array([0.3, -1.0, 2.0, 0.1])
    weights = np.exp(theta["logits"]) / np.exp(theta["logits"]).sum()
    variance = np.broadcast_to(np.exp(2 * theta["log_scale"]), (3, 4))
    terms = [
        np.log(weights[k]) + closed_forms.log_normal(x, theta["mean"][k], np.diag(variance[k]))
        for k in range(3)
    ]
    expected = np.logaddexp.reduce(terms)
    np.testing.assert_allclose(model.log_evidence(theta, x), expected, rtol=1e-13)
    np.testing.assert_allclose(model.log_joint(theta, x, jnp.int32(2)), terms[2], rtol=1e-13)


@pytest.mark.parametrize("model", MODELS[:2], ids=repr)
def test_a_floor_holds_the_noise_and_is_reported(model):
    theta = some_theta(model)
    low = theta | {"log_scale": jnp.full_like(theta["log_scale"], -20.0)}
    np.testing.assert_allclose(model.scale(low), 1e-3, rtol=1e-12)
    assert "floor 0.001" in model.remarks(low)[0]
    assert model.remarks(theta) == []


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_the_initial_model_is_at_the_data_mean(model):
    theta = model.init(jax.random.key(3), SPEC)
    if isinstance(model, Mixture):
        np.testing.assert_allclose(theta["mean"].mean(), 0.4, atol=1.0)
    elif isinstance(model, LinearGaussian):
        np.testing.assert_allclose(theta["mean"], 0.4)
    else:
        flat_decoder = jax.tree.map(jnp.zeros_like, theta["decoder"])
        last = flat_decoder["layer1"] | {"bias": theta["decoder"]["layer1"]["bias"]}
        theta = theta | {"decoder": flat_decoder | {"layer1": last}}
        decoded = model.decode(theta, jnp.zeros(2), jnp.zeros(4))
        np.testing.assert_allclose(decoded, 0.4, atol=1e-8)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_a_simulated_x_keeps_the_shape_of_the_example(model):
    theta = model.init(jax.random.key(0), SPEC)
    _, x = model.sample(theta, jax.random.key(1), jnp.zeros((2, 2)))
    assert x.shape == (2, 2)


def test_models_refuse_an_empty_latent_and_a_floor_of_zero():
    with pytest.raises(ValueError, match="latent_size must be 1 or more"):
        LinearGaussian(0, "shared", 1e-3)
    with pytest.raises(ValueError, match=r"Try model\.floor=0\.001"):
        LinearGaussian(1, "shared", 0.0)
    with pytest.raises(ValueError, match="latent_size must be 2 or more"):
        Mixture(1, "shared", 1e-2)
    with pytest.raises(ValueError, match="latent_size must be 1 or more"):
        VAE(0, DECODER, Bernoulli())
