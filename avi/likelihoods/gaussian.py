"""Gaussian likelihood for real x, with fixed or learned variance."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.conjugate import LOG_TWO_PI
from avi.types import PRNGKey, Scalar, Support


@dataclass(frozen=True)
class Gaussian:
    """Independent x_i ~ N(outputs_i, s^2) with one s for all components.

    With a learned s the ELBO of a flexible decoder has no maximum (Dai & Wipf 2019), hence the
    floor; `at_floor` says whether it is active.
    """

    scale: float  # s; where learning starts if learned
    learn_scale: bool
    floor: float  # smallest s allowed, in the units of x

    def __post_init__(self) -> None:
        if not 0 < self.floor <= self.scale:
            raise ValueError(
                f"needs 0 < floor <= scale; got floor={self.floor}, scale={self.scale}. "
                "Try likelihood.floor=0.01 likelihood.scale=1."
            )

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        return {} if self.learn_scale else {"floor": "the scale is not learned."}

    @property
    def support(self) -> Support:
        """The real line."""
        return "real"

    def num_outputs(self, size: int) -> int:
        """One mean per component of x."""
        return size

    def init(self) -> dict[str, Array]:
        """Return log s if it is learned."""
        return {"log_scale": jnp.log(jnp.asarray(self.scale, float))} if self.learn_scale else {}

    def output_bias(self, mean: Array) -> Array:
        """Return the data mean."""
        return mean

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of log N(x_i; outputs_i, s^2) in nats."""
        scale = self._scale(params)
        return jnp.sum(-0.5 * ((x - outputs) / scale) ** 2 - jnp.log(scale) - 0.5 * LOG_TWO_PI)

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return E[x]."""
        del params
        return outputs

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        return outputs + self._scale(params) * jax.random.normal(key, outputs.shape)

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return a sentence if the floor holds the learned scale."""
        if not self.learn_scale or float(params["log_scale"]) > float(jnp.log(self.floor)):
            return []
        return [
            f"The likelihood's learned scale is at its floor {self.floor}, which sets the bound."
        ]

    def _scale(self, params: dict[str, Array]) -> Array:
        if not self.learn_scale:
            return jnp.asarray(self.scale, float)
        return jnp.exp(jnp.maximum(params["log_scale"], jnp.log(self.floor)))
