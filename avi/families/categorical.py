"""The family of all distributions over a finite set."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from avi.types import Lam, Latent, PRNGKey, Scalar, Z


@dataclass(frozen=True)
class Categorical:
    """P(z = k) = softmax(lam)_k, lam float[K]; every posterior over K categories is a member."""

    latent_size: int  # K, categories

    def __post_init__(self) -> None:
        if self.latent_size < 2:
            raise ValueError(f"latent_size must be 2 or more; got {self.latent_size}.")

    @property
    def latent(self) -> Latent:
        """One of K categories."""
        return Latent("category", self.latent_size)

    @property
    def num_params(self) -> int:
        """P = K."""
        return self.latent_size

    def init(self) -> Lam:
        """Return lam of the uniform distribution."""
        return jnp.zeros(self.latent_size)

    def of_logits(self, logits: Float[Array, " K"]) -> Lam:
        """Return lam of softmax(logits)."""
        return logits

    def points(self) -> Int[Array, " K"]:
        """Return every category."""
        return jnp.arange(self.latent_size)

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return jax.random.categorical(key, lam)

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats."""
        return jax.nn.log_softmax(lam)[z]

    def entropy(self, lam: Lam, z: Z) -> Scalar:
        """Return the exact entropy; z is not used."""
        del z
        log_probability = jax.nn.log_softmax(lam)
        return -jnp.sum(jnp.exp(log_probability) * log_probability)

    def mean(self, lam: Lam) -> Float[Array, " K"]:
        """Return the probabilities."""
        return jax.nn.softmax(lam)

    def standard_deviation(self, lam: Lam) -> Float[Array, " K"]:
        """Return the standard deviations of the K indicators."""
        probability = jax.nn.softmax(lam)
        return jnp.sqrt(probability * (1 - probability))

    def natural_step(self, lam: Lam, gradient: Lam, rate: Scalar | float) -> Lam:
        """Return lam after log q has moved by `rate` times the gradient in q.

        The gradient in lam is q * (g - <q, g>) for g the gradient in q, so dividing by q recovers g
        up to a constant, which the softmax ignores. Rate 1 solves the bound exactly.
        """
        probability = jax.nn.softmax(lam)
        return lam + rate * gradient / jnp.maximum(probability, jnp.finfo(lam.dtype).tiny)
