"""Log-normal likelihood for positive x, such as concentrations, prices and durations."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from avi.likelihoods.gaussian import Gaussian
from avi.types import PRNGKey, Scalar, Support


@dataclass(frozen=True)
class LogNormal(Gaussian):
    """log x_i ~ N(outputs_i, s^2), as a density of x itself; s is in the units of log x."""

    @property
    def support(self) -> Support:
        """Positive numbers."""
        return "positive"

    def output_bias(self, mean: Array) -> Array:
        """Return log m - s^2 / 2, which has mean m."""
        return super().output_bias(jnp.log(mean) - self.scale**2 / 2)

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of log N(log x_i; outputs_i, s^2) - log x_i in nats."""
        log_x = jnp.log(x)
        return super().log_prob(params, outputs, log_x) - log_x.sum()

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return E[x]."""
        mean, scale = self._mean_and_scale(params, outputs)
        return jnp.exp(mean + scale**2 / 2)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        return jnp.exp(super().sample(params, outputs, key))
