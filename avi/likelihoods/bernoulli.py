"""Bernoulli likelihood for binary x."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.types import PRNGKey, Scalar, Support


@dataclass(frozen=True)
class Bernoulli:
    """Independent x_i in {0, 1} with logits from the network."""

    @property
    def support(self) -> Support:
        """{0, 1}."""
        return "binary"

    def num_outputs(self, size: int) -> int:
        """One logit per component of x."""
        return size

    def init(self, size: int) -> dict[str, Array]:
        """Return no parameters."""
        del size
        return {}

    def output_bias(self, mean: Array) -> Array:
        """Return the logit of the data mean, kept within [0.01, 0.99]."""
        mean = jnp.clip(mean, 0.01, 0.99)
        return jnp.log(mean) - jnp.log1p(-mean)

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of `log_probs`, in nats."""
        return self.log_probs(params, outputs, x).sum()

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return x_i l_i - log(1 + e^(l_i)) of each entry, in nats, l the logits."""
        del params
        # log(1 + e^l) without overflow, cheaper in a step than jax.nn.softplus and optax's form.
        softplus = jnp.maximum(outputs, 0) + jnp.log(1 + jnp.exp(-jnp.abs(outputs)))
        return x * outputs - softplus

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return the probabilities."""
        del params
        return jax.nn.sigmoid(outputs)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        return jax.random.bernoulli(key, self.mean(params, outputs)).astype(outputs.dtype)

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return nothing."""
        del params
        return []
