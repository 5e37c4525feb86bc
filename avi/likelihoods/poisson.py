"""Poisson likelihood for counts."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.randomness import for_simulators
from avi.types import PRNGKey, Scalar, Support

SMALLEST = 1e-2  # mean of a count that a bias starts at, where the data have fewer


@dataclass(frozen=True)
class Poisson:
    """Independent counts x_i with log rates from the network."""

    @property
    def support(self) -> Support:
        """0, 1, 2, ..."""
        return "count"

    def num_outputs(self, size: int) -> int:
        """One log rate per component of x."""
        return size

    def init(self, size: int) -> dict[str, Array]:
        """Return no parameters."""
        del size
        return {}

    def output_bias(self, mean: Array) -> Array:
        """Return the log of the data mean."""
        return jnp.log(jnp.maximum(mean, SMALLEST))

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of `log_probs`, in nats."""
        return self.log_probs(params, outputs, x).sum()

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return x_i l_i - e^(l_i) - log x_i! of each entry, in nats, l the log rates."""
        del params
        return x * outputs - jnp.exp(outputs) - jax.scipy.special.gammaln(x + 1)

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return the rates."""
        del params
        return jnp.exp(outputs)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        counts = jax.random.poisson(for_simulators(key), self.mean(params, outputs))
        return counts.astype(outputs.dtype)

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return nothing."""
        del params
        return []
