"""Linear response: the exact marginal deviation of a Gaussian posterior, whatever q leaves out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gap.adversaries import ADVERSARIES
from gap.gaussian_case import LATENT, SIZE, make_case

from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.objectives.moment_matched import MomentMatched
from avi.problem import fit
from avi.refine.linear_response import linear_response
from avi.types import Local, Target

MATCHED = MomentMatched(64)


@pytest.mark.parametrize("full", [False, True])
def test_it_is_the_exact_marginal_deviation_under_a_gaussian_posterior(full):
    """Moment-matched draws make the bound exact; what is left is single precision."""
    family = FullRankGaussian(LATENT) if full else DiagonalGaussian(LATENT)
    case = make_case(family)
    model, theta = case.experiment.problem.model, case.params.theta
    x = jax.random.normal(jax.random.key(5), (SIZE,))
    mean, precision = model.posterior(theta, x)
    if full:
        lam = family.join(mean, jnp.linalg.cholesky(jnp.linalg.inv(precision)))
    else:
        lam = family.member(mean, jnp.diag(precision) ** -0.5)
    local = Local(Target(model, theta, x), family, fit(MATCHED, model, family))
    found = jax.jit(lambda lam: linear_response(local, lam, jax.random.key(0)))(lam)
    exact = np.sqrt(np.diag(np.linalg.inv(precision)))
    np.testing.assert_allclose(found, exact, rtol=2e-3)
    own = np.asarray(family.standard_deviation(lam))
    if full:
        np.testing.assert_allclose(own, exact, rtol=1e-4)
    else:
        assert np.all(own < exact)
        assert np.any(own < 0.92 * exact)


def test_at_a_saddle_it_says_nothing():
    """Between two equal hills the bound bends upwards in the mean."""
    model, family = ADVERSARIES["even"], DiagonalGaussian(1)
    local = Local(Target(model, {}, jnp.array([2.0])), family, MATCHED)
    found = linear_response(local, jnp.array([0.0, -1.0]), jax.random.key(0))
    assert np.isnan(found).all()
