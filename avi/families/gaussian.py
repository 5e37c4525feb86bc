"""Gaussian families on R^d, with diagonal and with full covariance."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.abilities import LocationScale
from avi.conjugate import LOG_TWO_PI
from avi.families.coordinates import Coordinates, refuse_empty
from avi.types import Family, Lam, Latent, PRNGKey, Scalar, Z


@dataclass(frozen=True)
class DiagonalGaussian(Coordinates):
    """N(mean, diag(s^2)) with lam = [mean, log s], float[2d]."""

    def noise(self, key: PRNGKey) -> Float[Array, " d"]:
        """Draw eps ~ N(0, I)."""
        return jax.random.normal(key, (self.latent_size,))

    def transport(self, lam: Lam, eps: Float[Array, " d"]) -> Z:
        """Return z = mean + s * eps (Kingma & Welling 2014, eq. 10)."""
        mean, log_scale = self.split(lam)
        return mean + jnp.exp(log_scale) * eps

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return self.transport(lam, self.noise(key))

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats."""
        mean, log_scale = self.split(lam)
        eps = (z - mean) * jnp.exp(-log_scale)
        return -0.5 * jnp.sum(eps**2 + LOG_TWO_PI) - jnp.sum(log_scale)

    def entropy(self, lam: Lam, z: Z) -> Scalar:
        """Return the exact entropy; z is not used."""
        del z
        _, log_scale = self.split(lam)
        return jnp.sum(log_scale) + 0.5 * self.latent_size * (LOG_TWO_PI + 1)

    def standard_deviation(self, lam: Lam) -> Float[Array, " d"]:
        """Return the marginal standard deviations."""
        return jnp.exp(self.split(lam)[1])

    def kl_to_standard_normal(self, lam: Lam) -> Scalar:
        """Return KL(q || N(0, I)), sum(s^2 + mean^2 - 1 - 2 log s) / 2.

        Kingma & Welling (2014), appendix B.
        """
        mean, log_scale = self.split(lam)
        return 0.5 * jnp.sum(jnp.exp(2 * log_scale) + mean**2 - 1) - jnp.sum(log_scale)

    def natural_step(self, lam: Lam, gradient: Lam, rate: Scalar | float) -> Lam:
        """Return lam after one natural-gradient step on a bound with `gradient` at lam.

        By the theorems of Bonnet and Price the gradient in the variance is g_(log s) / (2 s^2), so
        the precision moves by the factor 1 - a, a = rate * g_(log s). Rate 1 lands on the optimum
        of a quadratic bound. Where noise or a convex log p would make the precision negative, the
        term a^2 / 2 keeps it positive (Lin, Schmidt & Khan 2020, "Handling the positive-definite
        constraint", eq. 12).
        """
        mean, log_scale = self.split(lam)
        mean_gradient, scale_gradient = self.split(gradient)
        step = rate * scale_gradient
        log_scale = log_scale - 0.5 * jnp.log(_positive(1 - step))
        return jnp.concatenate([mean + rate * jnp.exp(2 * log_scale) * mean_gradient, log_scale])

    def member(self, mean: Float[Array, " d"], deviation: Float[Array, " d"]) -> Lam:
        """Return lam of N(mean, diag(deviation^2))."""
        return jnp.concatenate([mean, jnp.log(deviation)])

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return mean + s * u and log s + v / sqrt(2), step = [u, v]: unit Fisher matrix at 0."""
        mean, log_scale = self.split(lam)
        mean_step, scale_step = self.split(step)
        mean = mean + jnp.exp(log_scale) * mean_step
        return jnp.concatenate([mean, log_scale + jnp.sqrt(0.5) * scale_step])

    def affine(self, lam: Lam) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """Return the mean and diag(s)."""
        mean, log_scale = self.split(lam)
        return mean, jnp.diag(jnp.exp(log_scale))

    def location_scale(self, lam: Lam) -> Lam:
        """Return [mean, s], in which the entropy is concave."""
        mean, log_scale = self.split(lam)
        return jnp.concatenate([mean, jnp.exp(log_scale)])


def _positive(factor: Array) -> Array:
    """Return the factor 1 - a of a precision, plus a^2 / 2 where it is not safely positive."""
    return jnp.where(factor > 1e-3, factor, factor + 0.5 * (1 - factor) ** 2)


def _positive_definite(step: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Return I - A, or I - A + A^2 / 2 with a shorter A where it is not safely positive."""
    identity = jnp.eye(len(step))
    eigenvalues = jnp.linalg.eigvalsh(identity - jax.lax.stop_gradient(step))
    smallest, largest = eigenvalues[0], eigenvalues[-1]
    safe = (smallest > 1e-3) & (smallest > 1e-5 * largest)
    # Beyond 10 the square would leave no digits for the small eigenvalues in float32.
    length = jnp.maximum(jnp.abs(smallest - 1), jnp.abs(largest - 1))
    short = step * jnp.minimum(1.0, 10 / jnp.maximum(length, 1.0))
    return jnp.where(safe, identity - step, identity - short + 0.5 * short @ short)


@dataclass(frozen=True)
class FullRankGaussian:
    """N(mean, L L') with lam = [mean, log diag(L), strictly lower triangle of L row by row]."""

    latent_size: int  # d

    def __post_init__(self) -> None:
        refuse_empty(self.latent_size)

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def num_params(self) -> int:
        """P = 2d + d (d - 1) / 2."""
        return 2 * self.latent_size + self.latent_size * (self.latent_size - 1) // 2

    def init(self) -> Lam:
        """Return lam of N(0, I)."""
        return jnp.zeros(self.num_params)

    def split(self, lam: Lam) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """Return (mean, L)."""
        size = self.latent_size
        lower = jnp.zeros((size, size), lam.dtype)
        lower = lower.at[jnp.tril_indices(size, -1)].set(lam[2 * size :])
        return lam[:size], lower + jnp.diag(jnp.exp(lam[size : 2 * size]))

    def join(self, mean: Float[Array, " d"], scale: Float[Array, "d d"]) -> Lam:
        """Return lam of N(mean, scale scale') for a lower triangle with a positive diagonal."""
        lower = scale[jnp.tril_indices(self.latent_size, -1)]
        return jnp.concatenate([mean, jnp.log(jnp.diag(scale)), lower])

    def noise(self, key: PRNGKey) -> Float[Array, " d"]:
        """Draw eps ~ N(0, I)."""
        return jax.random.normal(key, (self.latent_size,))

    def transport(self, lam: Lam, eps: Float[Array, " d"]) -> Z:
        """Return z = mean + L eps."""
        mean, scale = self.split(lam)
        return mean + scale @ eps

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return self.transport(lam, self.noise(key))

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats."""
        mean, scale = self.split(lam)
        eps = jax.scipy.linalg.solve_triangular(scale, z - mean, lower=True)
        return -0.5 * jnp.sum(eps**2 + LOG_TWO_PI) - self._log_determinant(lam)

    def entropy(self, lam: Lam, z: Z) -> Scalar:
        """Return the exact entropy; z is not used."""
        del z
        return self._log_determinant(lam) + 0.5 * self.latent_size * (LOG_TWO_PI + 1)

    def mean(self, lam: Lam) -> Float[Array, " d"]:
        """Return E[z]."""
        return lam[: self.latent_size]

    def standard_deviation(self, lam: Lam) -> Float[Array, " d"]:
        """Return the marginal standard deviations, the row norms of L."""
        return jnp.linalg.norm(self.split(lam)[1], axis=1)

    def kl_to_standard_normal(self, lam: Lam) -> Scalar:
        """Return KL(q || N(0, I)) = (|L|_F^2 + |mean|^2 - d) / 2 - log det L."""
        mean, scale = self.split(lam)
        square = jnp.sum(scale**2) + jnp.sum(mean**2)
        return 0.5 * (square - self.latent_size) - self._log_determinant(lam)

    def natural_step(self, lam: Lam, gradient: Lam, rate: Scalar | float) -> Lam:
        """Return lam after one natural-gradient step on a bound with `gradient` at lam.

        With G the gradient in L and D the gradient in the covariance, tril(L' G) = tril(2 L' D L),
        which determines the symmetric A = 2 L' D L; the precision L^-T L^-1 becomes
        L^-T (I - rate A) L^-1. Where that is not positive definite it gets the correction of
        `DiagonalGaussian.natural_step`.
        """
        size = self.latent_size
        mean, scale = self.split(lam)
        lower = jnp.zeros((size, size), lam.dtype)
        lower = lower.at[jnp.tril_indices(size, -1)].set(gradient[2 * size :])
        lower = lower + jnp.diag(gradient[size : 2 * size] / jnp.diag(scale))
        half = jnp.tril(scale.T @ lower)
        step = rate * (half + half.T - jnp.diag(jnp.diag(half)))
        # V_new = L F^-1 L' with F = R R' for an upper triangle R, so that its root is L R^-T. The
        # eigenvectors of F would do as well, but have no derivative where eigenvalues repeat.
        factor = _positive_definite(step)
        root = jnp.linalg.cholesky(factor[::-1, ::-1])[::-1, ::-1]
        new_scale = jax.scipy.linalg.solve_triangular(root, scale.T, lower=False).T
        new_mean = mean + rate * (new_scale @ (new_scale.T @ gradient[:size]))
        return self.join(new_mean, new_scale)

    def member(self, mean: Float[Array, " d"], deviation: Float[Array, " d"]) -> Lam:
        """Return lam of N(mean, diag(deviation^2))."""
        return self.join(mean, jnp.diag(deviation))

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return lam of mean + L u and L T, step = [u, v, w]: unit Fisher matrix at 0.

        T is lower triangular with diagonal exp(v / sqrt(2)) and w below it.
        """
        mean, scale = self.split(lam)
        half = step.at[self.latent_size : 2 * self.latent_size].multiply(jnp.sqrt(0.5))
        mean_step, factor = self.split(half)
        return self.join(mean + scale @ mean_step, scale @ factor)

    def holds(self, smaller: Family) -> bool:
        """Whether the other is a family of Gaussians."""
        return isinstance(smaller, LocationScale)

    def embed(self, smaller: Any, lam: Lam) -> Lam:
        """Return the lam of another family's Gaussian."""
        mean, root = smaller.affine(lam)
        return self.join(mean, jnp.linalg.cholesky(root @ root.T))

    def affine(self, lam: Lam) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """Return the mean and L."""
        return self.split(lam)

    def location_scale(self, lam: Lam) -> Lam:
        """Return [mean, diag(L), strictly lower triangle of L], in which the entropy is concave."""
        size = self.latent_size
        return lam.at[size : 2 * size].set(jnp.exp(lam[size : 2 * size]))

    def _log_determinant(self, lam: Lam) -> Scalar:
        return jnp.sum(lam[self.latent_size : 2 * self.latent_size])
