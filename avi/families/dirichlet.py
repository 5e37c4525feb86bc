"""The Dirichlet family on the simplex."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.conjugate import digamma, dirichlet, trigamma
from avi.types import Lam, Latent, PRNGKey, Scalar, Z


@dataclass(frozen=True)
class Dirichlet:
    """Dirichlet(gamma) with lam = log gamma, float[K]: every real vector is a member."""

    latent_size: int  # K, parts

    def __post_init__(self) -> None:
        if self.latent_size < 2:
            raise ValueError(f"latent_size must be 2 or more; got {self.latent_size}.")

    @property
    def latent(self) -> Latent:
        """The simplex of K parts."""
        return Latent("simplex", self.latent_size)

    @property
    def num_params(self) -> int:
        """P = K."""
        return self.latent_size

    def init(self) -> Lam:
        """Return lam of the uniform distribution, gamma = 1."""
        return jnp.zeros(self.latent_size)

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return jax.random.dirichlet(key, jnp.exp(lam))

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats, a density in the first K - 1 parts."""
        gamma = jnp.exp(lam)
        return jnp.sum((gamma - 1) * jnp.log(z)) - dirichlet(gamma)

    def entropy(self, lam: Lam, z: Z) -> Scalar:
        """Return the exact entropy; z is not used."""
        del z
        gamma = jnp.exp(lam)
        return dirichlet(gamma) - jnp.sum((gamma - 1) * self.expected_log(lam))

    def mean(self, lam: Lam) -> Float[Array, " K"]:
        """Return E[z] = gamma / sum gamma."""
        return jax.nn.softmax(lam)

    def standard_deviation(self, lam: Lam) -> Float[Array, " K"]:
        """Return the marginal standard deviations."""
        mean = self.mean(lam)
        return jnp.sqrt(mean * (1 - mean) / (1 + jnp.exp(lam).sum()))

    def expected_log(self, lam: Lam) -> Float[Array, " K"]:
        """Return E[log z] = psi(gamma) - psi(sum gamma)."""
        gamma = jnp.exp(lam)
        return digamma(gamma) - digamma(gamma.sum())

    def relative_weights(self, lam: Lam) -> Float[Array, " K"]:
        """Return exp(E[log z]) over its largest part: psi grows, so the largest gamma has it."""
        gamma = jnp.exp(lam)
        return jnp.exp(digamma(gamma) - digamma(gamma.max()))

    def kl_to(self, lam: Lam, concentration: Float[Array, " K"]) -> Scalar:
        """Return KL(q || Dirichlet(concentration)) in nats."""
        gamma = jnp.exp(lam)
        product = jnp.sum((gamma - concentration) * self.expected_log(lam))
        return product + dirichlet(concentration) - dirichlet(gamma)

    def natural_step(self, lam: Lam, gradient: Lam, rate: Scalar | float) -> Lam:
        """Return lam after one natural-gradient step in gamma on a bound with `gradient` at lam.

        The Fisher information of gamma is diag(psi'(gamma)) - psi'(sum gamma) 11', inverted by the
        formula of Sherman and Morrison. Rate 1 lands on the optimum of a conjugate bound.
        """
        gamma = jnp.exp(lam)
        inverse = 1 / trigamma(gamma)
        scaled = inverse * gradient / gamma
        correction = scaled.sum() / (1 / trigamma(gamma.sum()) - inverse.sum())
        step = scaled + inverse * correction
        # A conjugate bound keeps gamma positive; rounding and noise must not make it otherwise.
        return lam + jnp.log(jnp.maximum(1 + rate * step / gamma, 1e-6))
