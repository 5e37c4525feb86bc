"""Log-normal likelihood for positive x, such as concentrations, prices and durations."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from avi.likelihoods.gaussian import Gaussian
from avi.types import PRNGKey, Support


@dataclass(frozen=True)
class LogNormal(Gaussian):
    """log x_i ~ N(outputs_i, s^2), as a density of x itself; s is in the units of log x."""

    @property
    def support(self) -> Support:
        """Positive numbers."""
        return "positive"

    def output_bias(self, mean: Array) -> Array:
        """Return log m - s^2 / 2, which has mean m; m is 0 where no value was seen."""
        log_mean = jnp.log(jnp.maximum(mean, jnp.finfo(mean.dtype).tiny))
        return super().output_bias(log_mean - self.scale**2 / 2)

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return log N(log x_i; outputs_i, s^2) - log x_i of each entry, in nats."""
        log_x = jnp.log(x)
        return super().log_probs(params, outputs, log_x) - log_x

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return E[x]."""
        mean, scale = self._mean_and_scale(params, outputs)
        return jnp.exp(mean + scale**2 / 2)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        return jnp.exp(super().sample(params, outputs, key))
