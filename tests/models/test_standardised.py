"""A standardised model is a density of x in the person's units, with nothing left out."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import multivariate_normal

from avi.abilities import Coordinate, Maskable, StandardNormalPrior, Tractable, models
from avi.families.categorical import Categorical
from avi.likelihoods.gaussian import Gaussian
from avi.models import standardised as module
from avi.models.gaussian_mixture import GaussianMixture
from avi.models.linear_gaussian import LinearGaussian
from avi.models.standardised import standardised
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.types import DataSpec, Model, Scale

RANDOM = np.random.default_rng(4)
SCALE = Scale(np.array([1990.0, -2.0, 0.5]), np.array([10.0, 0.25, 3.0]))
ROWS = jnp.asarray(SCALE.mean + SCALE.deviation * RANDOM.standard_normal((40, 3)), float)
DATA = DataSpec(ROWS[0], ROWS.mean(0), "real", 40, ROWS)
LINEAR = LinearGaussian(2, "diagonal", 1e-3)
NETWORK = MLP((5,), "tanh", 1.0)
MODELS = {
    "linear": LINEAR,
    "vae": VAE(2, NETWORK, Gaussian(1.0, True, 0.01, "network")),
    "mixture": GaussianMixture(3, 1.0, 1.0, 1.0, 1.0),
}


def posed(name):
    model = standardised(MODELS[name], SCALE)
    return model, model.init(jax.random.key(0), DATA)


def test_every_method_that_sees_x_is_known():
    """What is in no list is handed on by nobody: it cannot be handed on in the wrong units."""
    known = {*module.DENSITIES, *module.READERS, *module.MAKERS, *module.APART, "standard"}
    own_classes = (one for _, one in inspect.getmembers(models, inspect.isclass))
    of_models = [one for one in own_classes if one.__module__ == models.__name__]
    assert len(of_models) > 8
    own = {name for kind in (Model, *of_models) for name in vars(kind) if name[0] != "_"}
    # Of many rows, of likelihoods, and of models that are never standardised.
    assert own - known == {"of_rows", "require", "own_units", "log_probs", "categories"}


@pytest.mark.parametrize("name", MODELS)
def test_densities_are_those_of_y_and_the_log_jacobian(name):
    model, theta = posed(name)
    inner, x = MODELS[name], ROWS[3]
    y = (x - SCALE.mean) / SCALE.deviation
    z = jnp.int32(1) if name == "mixture" else jnp.array([0.3, -1.0])
    constant = -np.log(SCALE.deviation).sum()
    np.testing.assert_allclose(
        model.log_joint(theta, x, z), inner.log_joint(theta, y, z) + constant, rtol=1e-5
    )
    same_start = inner.init(jax.random.key(0), DATA._replace(
        example=model.standard(ROWS[0]), mean=model.standard(DATA.mean), sample=model.standard(ROWS)
    ))  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, theta, same_start)
    for ability in (Coordinate, Maskable, StandardNormalPrior, Tractable):
        assert isinstance(model, ability) == isinstance(inner, ability)
    if name != "mixture":
        decoded = SCALE.mean + SCALE.deviation * inner.decode(theta, z, y)
        np.testing.assert_allclose(model.decode(theta, z, x), decoded, rtol=1e-5)
        simulated = inner.sample(theta, jax.random.key(1), y)[1]
        drawn = model.sample(theta, jax.random.key(1), x)[1]
        np.testing.assert_allclose(drawn, SCALE.mean + SCALE.deviation * simulated, rtol=1e-5)
    else:
        family = Categorical(3)
        lam = jnp.array([0.1, 0.2, -0.3])
        elbo = inner.elbo(theta, y, family, lam) + constant
        np.testing.assert_allclose(model.elbo(theta, x, family, lam), elbo, rtol=1e-5)
        np.testing.assert_allclose(
            model.coordinate_update(theta, x, family)(lam),
            inner.coordinate_update(theta, y, family)(lam),
            rtol=1e-5,
        )


def test_evidence_is_the_normal_density_of_x():
    """Held against N(x; m + s mu, S (W W' + Psi) S), S = diag(s), which no method of ours knows."""
    model, theta = posed("linear")
    theta = theta | {"weight": jnp.asarray(RANDOM.standard_normal((3, 2)), float)}
    theta |= {"log_scale": jnp.array([-1.0, 0.0, 0.5])}
    covariance = theta["weight"] @ theta["weight"].T + jnp.diag(jnp.exp(2 * theta["log_scale"]))
    covariance = SCALE.deviation[:, None] * covariance * SCALE.deviation
    mean = SCALE.mean + SCALE.deviation * theta["mean"]
    expected = jax.vmap(lambda x: multivariate_normal.logpdf(x - mean, jnp.zeros(3), covariance))
    found = jax.vmap(lambda x: model.log_evidence(theta, x))(ROWS)
    # x - m is known to 1e-4 / 10 of a deviation in single precision.
    np.testing.assert_allclose(found, expected(ROWS), rtol=1e-4)
    # A coordinate that is missing leaves the density of the others, in their units.
    seen = {"mask": jnp.array([1.0, 1.0, 0.0]), "value": ROWS[0] * jnp.array([1, 1, 0])}
    part = multivariate_normal.logpdf(ROWS[0][:2] - mean[:2], jnp.zeros(2), covariance[:2, :2])
    np.testing.assert_allclose(model.log_evidence(theta, seen), part, rtol=1e-4)
    drawn = model.sample(theta, jax.random.key(0), seen)[1]
    assert drawn["value"][2] == 0
    back = model.restored(model.standard(seen))
    np.testing.assert_allclose(back["value"], seen["value"], rtol=1e-6)
