"""Priors that are learned: the standard one among them, and the bound that they raise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.abilities import StandardNormalPrior, offers
from avi.errors import ConfigError
from avi.families.coupling_flow import CouplingFlow
from avi.families.gaussian import DiagonalGaussian
from avi.likelihoods.bernoulli import Bernoulli
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.objectives.elbo import AnalyticKL, Elbo, Pathwise
from avi.priors.learned import Learned
from avi.problem import fit
from avi.types import DataSpec

SPEC = DataSpec(jnp.zeros(4), jnp.full(4, 0.4), "binary", 100)
FAMILY = DiagonalGaussian(2)
FLOW = CouplingFlow(2, 0, "shared", layers=2, width=4, transform="affine")
X, Z, KEY = jnp.array([1.0, 0.0, 0.0, 1.0]), jnp.array([0.3, -1.2]), jax.random.key(0)
STANDARD = VAE(2, MLP((3,), "tanh", 1.0), Bernoulli())


def with_prior(family):
    """Return the same VAE with a learned prior."""
    return VAE(2, STANDARD.decoder, Bernoulli(), prior=Learned(family))


@pytest.mark.parametrize("family", [FAMILY, FLOW], ids=["gaussian", "flow"])
def test_a_learned_prior_begins_as_the_standard_one_and_is_trained_with_theta(family):
    model, theta = with_prior(family), STANDARD.init(KEY, SPEC)
    own = model.init(KEY, SPEC)
    assert set(own) == {*theta, "prior"}
    np.testing.assert_allclose(
        model.log_joint(own, X, Z), STANDARD.log_joint(theta, X, Z), rtol=1e-6
    )
    gradient = jax.grad(lambda theta: model.log_joint(theta, X, Z))(own)
    assert float(jnp.abs(gradient["prior"]["lam"]).max()) > 0


def test_what_rests_on_a_standard_prior_is_not_used_with_another():
    assert offers(StandardNormalPrior, STANDARD, FAMILY)
    assert not offers(StandardNormalPrior, with_prior(FAMILY), FAMILY)
    assert isinstance(fit(Elbo(2, True), STANDARD, FAMILY), AnalyticKL)
    assert isinstance(fit(Elbo(2, True), with_prior(FAMILY), FAMILY), Pathwise)
    with pytest.raises(ConfigError, match=r"prior z ~ N\(0, I\).*objective=pathwise"):
        fit(AnalyticKL(2, False), with_prior(FAMILY), FAMILY, "objective")


def test_the_best_gaussian_prior_is_the_mean_posterior_in_closed_form():
    # E_q log N(z; m, s^2) summed over rows is greatest at the moments of the aggregate posterior.
    prior = Learned(FAMILY)
    rows = jnp.array([[0.5, -1.0, -0.2, 0.1], [1.5, 0.0, 0.3, -0.4]])
    mean, deviation = rows[:, :2], jnp.exp(rows[:, 2:])
    best_mean = mean.mean(axis=0)
    spread = jnp.sqrt((deviation**2 + (mean - best_mean) ** 2).mean(axis=0))
    best = {"lam": jnp.concatenate([best_mean, jnp.log(spread)])}

    def cross_entropy(params):
        nodes = jnp.array([-(3**0.5), 0.0, 3**0.5])  # of Gauss and Hermite: exact for squares
        weights = jnp.array([1, 4, 1]) / 6
        z = mean[:, None] + deviation[:, None] * nodes[:, None]
        logs = jax.vmap(jax.vmap(lambda z: prior.log_prob(params, z)))(z)
        return (logs @ weights).mean()

    slope = jax.grad(cross_entropy)(best)["lam"]
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    assert cross_entropy(best) > cross_entropy({"lam": best["lam"] + 0.1})
