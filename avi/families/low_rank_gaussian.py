"""Gaussians whose precision is a diagonal and a few directions more."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.conjugate import LOG_TWO_PI
from avi.families.coordinates import refuse_empty
from avi.families.gaussian import DiagonalGaussian
from avi.types import Family, Lam, Latent, PRNGKey, Scalar, Z

SPREAD = 0.1  # of the directions of the start: at 0 they are a saddle of every bound


@dataclass(frozen=True)
class LowRankGaussian:
    """N(mean, C C') with C = diag(s) (I + V V')^-1, lam = [mean, log s, V row by row], V [d, r].

    Every diagonal plus a non-negative matrix of rank r is such a precision: what r directions of
    the data say of z beside a factorised prior. With one it is that of Rezende, Mohamed & Wierstra
    (2014), section 4.3. Draws and densities cost O(d r).
    """

    latent_size: int  # d
    rank: int  # r

    def __post_init__(self) -> None:
        refuse_empty(self.latent_size)
        if not 1 <= self.rank <= self.latent_size:
            raise ValueError(
                f"rank must be 1 to latent_size={self.latent_size}; got {self.rank}. With all of "
                "them family=full_rank_gaussian has fewer numbers."
            )

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def num_params(self) -> int:
        """P = d (2 + r)."""
        return self.latent_size * (2 + self.rank)

    def init(self) -> Lam:
        """Return lam close to N(0, I), with small directions to grow from."""
        return self.member(jnp.zeros(self.latent_size), jnp.ones(self.latent_size))

    def split(self, lam: Lam) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, "d r"]]:
        """Return (mean, log s, V)."""
        mean, log_scale, directions = jnp.split(lam, [self.latent_size, 2 * self.latent_size])
        return mean, log_scale, directions.reshape(self.latent_size, self.rank)

    def noise(self, key: PRNGKey) -> Float[Array, " d"]:
        """Draw eps ~ N(0, I)."""
        return jax.random.normal(key, (self.latent_size,))

    def transport(self, lam: Lam, eps: Float[Array, " d"]) -> Z:
        """Return z = mean + C eps."""
        mean, log_scale, directions = self.split(lam)
        return mean + jnp.exp(log_scale) * _shrunk(directions, eps)

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return self.transport(lam, self.noise(key))

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats."""
        mean, log_scale, directions = self.split(lam)
        scaled = (z - mean) * jnp.exp(-log_scale)
        eps = scaled + directions @ (directions.T @ scaled)
        return -0.5 * jnp.sum(eps**2 + LOG_TWO_PI) - self._log_determinant(lam)

    def entropy(self, lam: Lam, z: Z) -> Scalar:
        """Return the exact entropy; z is not used."""
        del z
        return self._log_determinant(lam) + 0.5 * self.latent_size * (LOG_TWO_PI + 1)

    def mean(self, lam: Lam) -> Float[Array, " d"]:
        """Return E[z]."""
        return self.split(lam)[0]

    def standard_deviation(self, lam: Lam) -> Float[Array, " d"]:
        """Return the marginal standard deviations, the row norms of C."""
        _, log_scale, directions = self.split(lam)
        return jnp.exp(log_scale) * _norms(directions)

    def kl_to_standard_normal(self, lam: Lam) -> Scalar:
        """Return KL(q || N(0, I)) = (|C|_F^2 + |mean|^2 - d) / 2 - log det C."""
        square = jnp.sum(self.standard_deviation(lam) ** 2) + jnp.sum(self.mean(lam) ** 2)
        return 0.5 * (square - self.latent_size) - self._log_determinant(lam)

    def member(self, mean: Float[Array, " d"], deviation: Float[Array, " d"]) -> Lam:
        """Return lam with these marginals and all but independent coordinates."""
        shape = (self.latent_size, self.rank)
        directions = SPREAD * jax.random.normal(jax.random.key(0), shape)
        log_scale = jnp.log(deviation / _norms(directions))
        return jnp.concatenate([mean, log_scale, directions.ravel()])

    def holds(self, smaller: Family) -> bool:
        """Whether the other has independent coordinates."""
        return isinstance(smaller, DiagonalGaussian)

    def embed(self, smaller: Family, lam: Lam) -> Lam:
        """Return the lam of independent coordinates, without a direction."""
        del smaller
        return jnp.concatenate([lam, jnp.zeros(self.latent_size * self.rank)])

    def affine(self, lam: Lam) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """Return the mean and C."""
        mean, log_scale, directions = self.split(lam)
        root = _shrunk(directions, jnp.eye(self.latent_size))
        return mean, jnp.exp(log_scale)[:, None] * root

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return mean + C u, log s + v / sqrt(2) and V + w, step = [u, v, w].

        The Fisher matrix at 0 is near I for u and v; directions that only turn V leave q alone.
        """
        mean, log_scale, directions = self.split(lam)
        mean_step, scale_step, turned = self.split(step)
        moved = jnp.exp(log_scale) * _shrunk(directions, mean_step)
        scaled = log_scale + jnp.sqrt(0.5) * scale_step
        return jnp.concatenate([mean + moved, scaled, (directions + turned).ravel()])

    def _log_determinant(self, lam: Lam) -> Scalar:
        _, log_scale, directions = self.split(lam)
        return jnp.sum(log_scale) - jnp.linalg.slogdet(_inner(directions))[1]


def _inner(directions: Float[Array, "d r"]) -> Float[Array, "r r"]:
    return jnp.eye(directions.shape[1]) + directions.T @ directions


def _shrunk(directions: Float[Array, "d r"], right: Array) -> Array:
    """Return (I + V V')^-1 right, by the inversion lemma."""
    return right - directions @ jnp.linalg.solve(_inner(directions), directions.T @ right)


def _norms(directions: Float[Array, "d r"]) -> Float[Array, " d"]:
    """Return the row norms of (I + V V')^-1."""
    inverse = jnp.linalg.inv(_inner(directions))
    # Of I - V M V' with M = (I + V'V)^-1, whose product with V'V is I - M.
    twice = directions @ inverse
    square = jnp.sum(twice * directions, axis=1) + jnp.sum(twice * twice, axis=1)
    return jnp.sqrt(1 - square)
