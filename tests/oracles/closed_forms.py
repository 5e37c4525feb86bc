"""Exact answers in numpy alone: nothing here imports avi or jax.

Notation of Cremer, Li & Duvenaud (2018): evidence - bound = approximation gap + amortization gap.
"""

from dataclasses import dataclass

import numpy as np

LOG_TWO_PI = np.log(2 * np.pi)


def log_normal(x, mean, covariance):
    """Return log N(x; mean, covariance)."""
    residual = np.atleast_1d(x - mean)
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, residual)
    return -0.5 * (white @ white + white.size * LOG_TWO_PI) - np.log(np.diag(factor)).sum()


def gaussian_gap(mean, covariance, posterior_mean, precision):
    """Return KL(N(mean, covariance) || N(posterior_mean, precision^-1)), evidence - ELBO."""
    shift = np.asarray(mean) - posterior_mean
    return 0.5 * (
        np.trace(precision @ covariance)
        + shift @ precision @ shift
        - len(shift)
        - np.linalg.slogdet(precision)[1]
        - np.linalg.slogdet(covariance)[1]
    )


def mean_field_gap(precision):
    """Return the approximation gap of a diagonal Gaussian: (sum log diag - log det) / 2."""
    return 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])


@dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I), x ~ N(W z + mu, diag(s^2))."""

    weight: np.ndarray  # W
    mean: np.ndarray  # mu
    scale: np.ndarray  # s

    @property
    def marginal(self):
        """C = W W' + Psi."""
        return self.weight @ self.weight.T + np.diag(self.scale**2)

    @property
    def precision(self):
        """Lambda = I + W' Psi^-1 W."""
        return np.eye(self.weight.shape[1]) + (self.weight.T / self.scale**2) @ self.weight

    @property
    def gain(self):
        """G with posterior mean G (x - mu)."""
        return np.linalg.solve(self.precision, self.weight.T / self.scale**2)

    def log_evidence(self, x):
        """Return log p(x)."""
        return log_normal(x, self.mean, self.marginal)

    def posterior_mean(self, x):
        """Return m(x)."""
        return self.gain @ (x - self.mean)

    def elbo(self, x, mean, covariance):
        """Return the ELBO of N(mean, covariance)."""
        gap = gaussian_gap(mean, covariance, self.posterior_mean(x), self.precision)
        return self.log_evidence(x) - gap

    def observed(self, mask):
        """Return the model of the entries where `mask` is true."""
        return LinearGaussian(self.weight[mask], self.mean[mask], self.scale[mask])


def linear_gaussian(seed, size, latent_size):
    """Return a model with random W, mu and scales between 0.5 and 1.5."""
    draws = np.random.default_rng(seed)
    return LinearGaussian(
        draws.standard_normal((size, latent_size)),
        draws.standard_normal(size),
        draws.uniform(0.5, 1.5, size),
    )


def ppca_maximum(x, latent_size):
    """Return the maximum of the mean log evidence of probabilistic PCA.

    Tipping & Bishop (1999): -(D log 2 pi + sum of log kept eigenvalues + (D - d) log s^2 + D) / 2.
    """
    values = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    size = len(values)
    noise = values[latent_size:].mean()
    kept = np.log(values[:latent_size]).sum()
    return -0.5 * (size * LOG_TWO_PI + kept + (size - latent_size) * np.log(noise) + size)
