"""Independent Student-t coordinates: a q with heavy tails."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln, digamma
from jaxtyping import Array, Float

from avi.families.coordinates import Coordinates
from avi.types import Lam, PRNGKey, Scalar, Z


@dataclass(frozen=True)
class StudentT(Coordinates):
    """z_i = mean_i + s_i t_i, t_i Student with `degrees` degrees of freedom, lam = [mean, log s].

    Noise is normal, two numbers for each t: a smooth and odd function of the first (Bailey 1994).
    """

    degrees: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.degrees > 2:
            raise ValueError(
                f"degrees must be above 2, else q has no variance; got {self.degrees:g}. "
                "Try family.degrees=5."
            )

    def noise(self, key: PRNGKey) -> Float[Array, " 2d"]:
        """Draw eps ~ N(0, I), of twice the latent's size."""
        return jax.random.normal(key, (2 * self.latent_size,))

    def transport(self, lam: Lam, eps: Float[Array, " 2d"]) -> Z:
        """Return z = mean + s t, t = eps_1 sqrt(degrees (exp(r^2 / degrees) - 1)) / r."""
        mean, log_scale = self.split(lam)
        first, second = jnp.split(eps, 2)
        square = jnp.maximum(first**2 + second**2, 1e-12)  # the limit at 0 is 1
        stretch = jnp.sqrt(self.degrees * jnp.expm1(square / self.degrees) / square)
        return mean + jnp.exp(log_scale) * first * stretch

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return self.transport(lam, self.noise(key))

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats."""
        mean, log_scale = self.split(lam)
        square = ((z - mean) * jnp.exp(-log_scale)) ** 2
        tails = -0.5 * (self.degrees + 1) * jnp.log1p(square / self.degrees)
        return jnp.sum(tails - log_scale) - self.latent_size * self._log_constant()

    def entropy(self, lam: Lam, z: Z) -> Scalar:
        """Return the exact entropy; z is not used."""
        del z
        half = 0.5 * self.degrees
        each = (half + 0.5) * (digamma(half + 0.5) - digamma(half)) + self._log_constant()
        return jnp.sum(self.split(lam)[1]) + self.latent_size * each

    def standard_deviation(self, lam: Lam) -> Float[Array, " d"]:
        """Return the marginal standard deviations, s sqrt(degrees / (degrees - 2))."""
        return jnp.exp(self.split(lam)[1]) * (self.degrees / (self.degrees - 2)) ** 0.5

    def member(self, mean: Float[Array, " d"], deviation: Float[Array, " d"]) -> Lam:
        """Return lam with this mean and these standard deviations."""
        scale = deviation * ((self.degrees - 2) / self.degrees) ** 0.5
        return jnp.concatenate([mean, jnp.log(scale)])

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return lam moved by step over the root of the Fisher information of mean / s and log s.

        It is (degrees + 1) / (degrees + 3) and 2 degrees / (degrees + 3) (Lange, Little & Taylor
        1989, appendix B).
        """
        mean, log_scale = self.split(lam)
        mean_step, scale_step = self.split(step)
        of_mean = ((self.degrees + 3) / (self.degrees + 1)) ** 0.5
        of_scale = ((self.degrees + 3) / (2 * self.degrees)) ** 0.5
        moved = mean + of_mean * jnp.exp(log_scale) * mean_step
        return jnp.concatenate([moved, log_scale + of_scale * scale_step])

    def _log_constant(self) -> Scalar:
        """Return -log q at the mode of one coordinate with s = 1."""
        return betaln(0.5, 0.5 * self.degrees) + 0.5 * jnp.log(self.degrees)
