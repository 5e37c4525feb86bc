"""Mixtures of Gaussians: several hills in one q."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.conjugate import LOG_TWO_PI
from avi.families.coordinates import refuse_empty
from avi.families.gaussian import DiagonalGaussian
from avi.types import Family, Lam, Latent, PRNGKey, Scalar, Z

APART = 0.5  # standard deviations between the components of the start, which must differ to part


@dataclass(frozen=True)
class MixtureOfGaussians:
    """sum_k w_k N(m_k, diag(s_k^2)), lam = [log w_k / w_K but the last, every m_k, every log s_k].

    Draws come one from every component, each counted by its weight, so that the weights have exact
    derivatives (Roeder, Wu & Duvenaud 2017, section 4; Morningstar et al. 2021).
    """

    latent_size: int  # d
    components: int  # K

    def __post_init__(self) -> None:
        refuse_empty(self.latent_size)
        if self.components < 2:
            raise ValueError(
                f"components must be 2 or more; got {self.components}. "
                "Try family=diagonal_gaussian for one."
            )

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def num_params(self) -> int:
        """P = K (1 + 2 d) - 1."""
        return self.components * (1 + 2 * self.latent_size) - 1

    def init(self) -> Lam:
        """Return equal components around 0, a little apart."""
        return self.member(jnp.zeros(self.latent_size), jnp.ones(self.latent_size))

    def split(
        self, lam: Lam
    ) -> tuple[Float[Array, " K"], Float[Array, "K d"], Float[Array, "K d"]]:
        """Return (log w, means, log s)."""
        logits, means, log_scales = self._parts(lam)
        return jax.nn.log_softmax(jnp.append(logits, 0.0)), means, log_scales

    def noise(self, key: PRNGKey) -> Float[Array, " d"]:
        """Draw eps ~ N(0, I), the same for all components."""
        return jax.random.normal(key, (self.latent_size,))

    def strata(
        self, lam: Lam, eps: Float[Array, " d"]
    ) -> tuple[Float[Array, "K d"], Float[Array, " K"]]:
        """Return one draw from every component and its log weight."""
        log_weights, means, log_scales = self.split(lam)
        return means + jnp.exp(log_scales) * eps, log_weights

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        noise_key, choice_key = jax.random.split(key)
        z, log_weights = self.strata(lam, self.noise(noise_key))
        return z[jax.random.categorical(choice_key, log_weights)]

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats."""
        log_weights, means, log_scales = self.split(lam)
        eps = (z - means) * jnp.exp(-log_scales)
        each = -0.5 * jnp.sum(eps**2 + LOG_TWO_PI, axis=1) - jnp.sum(log_scales, axis=1)
        return jax.nn.logsumexp(log_weights + each)

    def mean(self, lam: Lam) -> Float[Array, " d"]:
        """Return E[z]."""
        log_weights, means, _ = self.split(lam)
        return jnp.exp(log_weights) @ means

    def standard_deviation(self, lam: Lam) -> Float[Array, " d"]:
        """Return the marginal standard deviations."""
        log_weights, means, log_scales = self.split(lam)
        weights = jnp.exp(log_weights)
        within = weights @ jnp.exp(2 * log_scales)
        return jnp.sqrt(within + weights @ (means - weights @ means) ** 2)

    def member(self, mean: Float[Array, " d"], deviation: Float[Array, " d"]) -> Lam:
        """Return equal components around N(mean, diag(deviation^2)), a little apart."""
        shape = (self.components, self.latent_size)
        offsets = APART * jax.random.normal(jax.random.key(0), shape)
        means = mean + deviation * (offsets - offsets.mean(axis=0))
        log_scales = jnp.broadcast_to(jnp.log(deviation), shape)
        weights = jnp.zeros(self.components - 1)
        return jnp.concatenate([weights, means.ravel(), log_scales.ravel()])

    def holds(self, smaller: Family) -> bool:
        """Whether the other is one such component."""
        return isinstance(smaller, DiagonalGaussian)

    def embed(self, smaller: Family, lam: Lam) -> Lam:
        """Return the lam of components that are all the same."""
        del smaller
        mean, log_scale = jnp.split(lam, 2)
        each = jnp.tile(mean, self.components), jnp.tile(log_scale, self.components)
        return jnp.concatenate([jnp.zeros(self.components - 1), *each])

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return the components moved in their own standard deviations, step as lam.

        By w^-1/2 of it, as a component of weight w has that share of the Fisher information, and by
        no more than of a component that holds a tenth.
        """
        logits, means, log_scales = self._parts(lam)
        in_weights, in_means, in_scales = self._parts(step)
        log_weights, _, _ = self.split(lam)
        rare = jnp.exp(-0.5 * jnp.maximum(log_weights, jnp.log(0.1)))[:, None]
        moved = means + rare * jnp.exp(log_scales) * in_means
        scaled = log_scales + jnp.sqrt(0.5) * rare * in_scales
        parts = logits + rare[:-1, 0] * in_weights, moved, scaled
        return jnp.concatenate([part.ravel() for part in parts])

    def _parts(
        self, lam: Lam
    ) -> tuple[Float[Array, " K-1"], Float[Array, "K d"], Float[Array, "K d"]]:
        first, shape = self.components - 1, (self.components, self.latent_size)
        logits, means, log_scales = jnp.split(lam, [first, first + shape[0] * shape[1]])
        return logits, means.reshape(shape), log_scales.reshape(shape)
