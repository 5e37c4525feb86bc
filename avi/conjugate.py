"""Conjugate exponential families: each is its log-normaliser A, and everything follows from it.

With sufficient statistics t and natural parameters eta, E[t] = grad A(eta). The natural gradient
in eta is the gradient in E[t], so the derivative of E[t] is declared to be the identity: plain
autodiff of a bound then gives the natural gradient of Hoffman, Blei, Wang & Paisley (2013), and one
step of rate 1 lands on the exact coordinate optimum.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from avi.types import Scalar

LogNormaliser = Callable[[PyTree], Scalar]

LOG_TWO_PI = 1.8378770664093453
SHIFT = 8  # the series below are used from here on: their next term is under 2e-15
# Coefficients of 1/y^2, 1/y^4, ... in psi(y) - log y + 1/(2y), and of 1/y, 1/y^3, ... in log Gamma.
DIGAMMA_SERIES = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760, -1 / 12)
LOG_GAMMA_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def expected_statistics(log_normaliser: LogNormaliser, eta: PyTree) -> PyTree:
    """Return E[t] = grad A(eta); its derivative is *declared* to be the identity.

    A gradient that passes through it is therefore that in E[t], the natural gradient in eta.
    """
    return jax.grad(log_normaliser)(eta)


def _forward(log_normaliser: LogNormaliser, eta: PyTree) -> tuple[PyTree, None]:
    return expected_statistics(log_normaliser, eta), None


def _backward(log_normaliser: LogNormaliser, residuals: None, cotangent: PyTree) -> tuple[PyTree]:
    del log_normaliser, residuals
    return (cotangent,)


expected_statistics.defvjp(_forward, _backward)


def kl_divergence(log_normaliser: LogNormaliser, eta: PyTree, prior: PyTree) -> Scalar:
    """Return KL(q(eta) || q(prior)), the Bregman divergence of A, in nats.

    A(prior) - A(eta) - <prior - eta, E[t]>. Its natural gradient is eta - prior.
    """
    expected = expected_statistics(log_normaliser, eta)
    fixed = jax.lax.stop_gradient(eta)
    products = jax.tree.map(lambda e, p, t: jnp.sum((e - p) * t), fixed, prior, expected)
    return sum(jax.tree.leaves(products)) + log_normaliser(prior) - log_normaliser(fixed)


# --- log-normalisers ------------------------------------------------------------------------------


def dirichlet(concentration: Float[Array, "K ..."]) -> Scalar:
    """Return A of Dirichlet distributions along the first axis, their sum; t = log of each part."""
    return jnp.sum(log_gamma(concentration)) - jnp.sum(log_gamma(concentration.sum(0)))


class NormalGamma(NamedTuple):
    """Natural parameters of (mu, tau): tau ~ Gamma(a, b), mu | tau ~ N(m, 1 / (kappa tau)).

    They multiply t = (log tau, tau, tau mu, tau mu^2); any shape, one distribution per element.
    """

    log_precision: Array  # a - 1/2
    precision: Array  # -(b + kappa m^2 / 2)
    scaled_mean: Array  # kappa m
    scaled_square: Array  # -kappa / 2

    @classmethod
    def from_moments(cls, mean: Array, kappa: Array, shape: Array, rate: Array) -> "NormalGamma":
        """Return the natural parameters of (m, kappa, a, b)."""
        return cls(shape - 0.5, -(rate + 0.5 * kappa * mean**2), kappa * mean, -0.5 * kappa)

    def moments(self) -> tuple[Array, Array, Array, Array]:
        """Return (m, kappa, a, b)."""
        kappa = -2 * self.scaled_square
        mean = self.scaled_mean / kappa
        return mean, kappa, self.log_precision + 0.5, -self.precision - 0.5 * kappa * mean**2


def normal_gamma(eta: NormalGamma) -> Scalar:
    """Return A of Normal-Gamma distributions, their sum."""
    _, kappa, shape, rate = eta.moments()
    return jnp.sum(
        log_gamma(shape) - shape * jnp.log(rate) - 0.5 * jnp.log(kappa) + 0.5 * LOG_TWO_PI
    )


# --- log Gamma and its derivatives ----------------------------------------------------------------
# Recurrence up to SHIFT, then the asymptotic series: faster than a general-purpose one, because
# nothing branches. For positive arguments.


@jax.custom_jvp
def log_gamma(x: Array) -> Array:
    """Return log Gamma(x) for x > 0."""
    y = x + SHIFT
    series = _series(LOG_GAMMA_SERIES, 1 / (y * y)) / y
    stirling = (y - 0.5) * jnp.log(y) - y + 0.5 * LOG_TWO_PI + series
    # In two products of four: one of eight overflows float32 from x = 65000.
    low, high = x * (x + 1) * (x + 2) * (x + 3), (x + 4) * (x + 5) * (x + 6) * (x + 7)
    return stirling - jnp.log(low) - jnp.log(high)


@jax.custom_jvp
def digamma(x: Array) -> Array:
    """Return psi(x), the derivative of log Gamma, for x > 0."""
    y = x + SHIFT
    inverse = 1 / (y * y)
    series = jnp.log(y) - 0.5 / y + inverse * _series(DIGAMMA_SERIES, inverse)
    # 1/x + 1/(x+1) = (2x + 1) / (x (x + 1)): half the divisions.
    pairs = sum((2 * (x + i) + 1) / ((x + i) * (x + i + 1)) for i in range(0, SHIFT, 2))
    return series - pairs


def trigamma(x: Array) -> Array:
    """Return psi'(x) for x > 0."""
    y = x + SHIFT
    inverse = 1 / (y * y)
    terms = tuple(-2 * (n + 1) * c for n, c in enumerate(DIGAMMA_SERIES))
    series = 1 / y + 0.5 * inverse + inverse / y * _series(terms, inverse)
    return series + sum(1 / (x + i) ** 2 for i in range(SHIFT))


def _series(coefficients: tuple[float, ...], power: Array) -> Array:
    total = jnp.full_like(power, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * power + coefficient
    return total


log_gamma.defjvps(lambda tangent, value, x: digamma(x) * tangent)
digamma.defjvps(lambda tangent, value, x: trigamma(x) * tangent)
