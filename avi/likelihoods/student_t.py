"""Student t likelihood for real x with outliers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.likelihoods.gaussian import Gaussian
from avi.randomness import for_simulators
from avi.types import PRNGKey


@dataclass(frozen=True)
class StudentT(Gaussian):
    """x_i = outputs_i + s t_i, t_i of a t distribution: a Gaussian whose tails forgive outliers.

    The scale is that of `Gaussian`, with its floor.
    """

    degrees: float = 4.0  # of freedom; above 2 the variance is finite

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.degrees > 1:
            raise ValueError(
                f"degrees must be more than 1, or there is no mean; got {self.degrees}. "
                "Try degrees=4."
            )

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return the log density of each entry, in nats."""
        mean, scale = self._mean_and_scale(params, outputs)
        half, gammaln = self.degrees / 2, jax.scipy.special.gammaln
        constant = gammaln(half + 0.5) - gammaln(half) - 0.5 * jnp.log(jnp.pi * self.degrees)
        square = ((x - mean) / scale) ** 2
        tail = (half + 0.5) * jnp.log1p(square / self.degrees)
        return constant - tail - jnp.log(scale)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        mean, scale = self._mean_and_scale(params, outputs)
        return mean + scale * jax.random.t(for_simulators(key), self.degrees, mean.shape)
