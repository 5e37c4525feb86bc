"""Log-normalisers, their declared derivative, and divergences against other people's formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax.test_util import check_grads

from avi import conjugate
from avi.conjugate import NormalGamma, dirichlet, expected_statistics, kl_divergence, normal_gamma


def some(number, *shape):
    return jnp.asarray(np.random.default_rng(number).gamma(2.0, 1.0, shape))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (conjugate.log_gamma, scipy.special.gammaln),
        (conjugate.digamma, scipy.special.psi),
        (conjugate.trigamma, lambda x: scipy.special.polygamma(1, x)),
    ],
    ids=["log_gamma", "digamma", "trigamma"],
)
def test_gamma_functions_agree_with_scipy(ours, theirs):
    x = 10.0 ** np.linspace(-8, 8, 4001)
    # Relative to 1 + |value|: near the zeros of log_gamma terms of size 20 cancel.
    np.testing.assert_array_less(
        abs(ours(jnp.asarray(x)) - theirs(x)) / (1 + abs(theirs(x))), 2e-14
    )


def test_gamma_functions_are_the_derivatives_of_each_other():
    check_grads(conjugate.log_gamma, (some(0, 5),), order=2, modes=["fwd", "rev"], rtol=1e-6)


def test_expected_statistics_have_the_identity_as_derivative():
    eta, weight = some(0, 4, 3), some(1, 4, 3)
    gradient = jax.grad(lambda eta: jnp.sum(weight * expected_statistics(dirichlet, eta)))(eta)
    np.testing.assert_array_equal(gradient, weight)


def test_expected_log_of_a_dirichlet():
    eta = some(0, 4, 3)
    expected = scipy.special.psi(eta) - scipy.special.psi(eta.sum(0))
    np.testing.assert_allclose(expected_statistics(dirichlet, eta), expected, rtol=1e-12)


def test_kl_of_dirichlets_is_that_of_the_textbook_and_its_natural_gradient_is_the_difference():
    eta, prior = some(0, 4), some(1, 4)
    gammaln, psi = scipy.special.gammaln, scipy.special.psi
    expected = (
        gammaln(eta.sum()) - gammaln(eta).sum() - gammaln(prior.sum()) + gammaln(prior).sum()
        + ((eta - prior) * (psi(eta) - psi(eta.sum()))).sum()
    )  # fmt: skip
    value, gradient = jax.value_and_grad(lambda eta: kl_divergence(dirichlet, eta, prior))(eta)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, eta - prior, rtol=1e-12)


def test_normal_gamma_survives_the_way_to_natural_parameters_and_back():
    moments = tuple(some(number, 3, 2) for number in range(4))
    for found, expected in zip(NormalGamma.from_moments(*moments).moments(), moments, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_normal_gamma_normalises_and_has_the_expected_statistics_of_quadrature():
    mean, kappa, shape, rate = 0.3, 2.0, 3.0, 1.5
    eta = NormalGamma.from_moments(*map(jnp.asarray, (mean, kappa, shape, rate)))
    tau = np.linspace(1e-6, 25, 3001)[:, None]
    z = np.linspace(-9, 9, 401)[None, :]
    mu = mean + z / np.sqrt(kappa * tau)  # the scale of mu given tau keeps the grid narrow
    statistics = np.stack(np.broadcast_arrays(np.log(tau), tau, tau * mu, tau * mu**2))
    log_density = np.tensordot(np.stack(eta), statistics, 1) - float(normal_gamma(eta))
    weight = np.exp(log_density) / np.sqrt(kappa * tau)

    def integral(values):
        return np.trapezoid(np.trapezoid(values * weight, z[0], axis=1), tau[:, 0])

    np.testing.assert_allclose(integral(np.ones_like(weight)), 1, rtol=1e-5)
    for found, values in zip(expected_statistics(normal_gamma, eta), statistics, strict=True):
        np.testing.assert_allclose(found, integral(values), rtol=1e-4)
