"""Gaussian likelihood for real x, with fixed or learned variance."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.conjugate import LOG_TWO_PI
from avi.types import PRNGKey, Scalar, Support


@dataclass(frozen=True)
class Gaussian:
    """Independent x_i ~ N(mean_i, s_i^2), means from the network.

    The scale is one for all components (`shared`), one for each (`own`, as in factor analysis), or
    comes from the network beside the mean (`network`, Kingma & Welling 2014). With a learned scale
    the ELBO of a flexible decoder has no maximum (Dai & Wipf 2019), hence the floor; a remark says
    where it is active.
    """

    scale: float  # s; where learning starts if learned
    learn_scale: bool
    floor: float  # smallest s allowed, in the units of x
    scales: Literal["shared", "own", "network"] = "shared"

    def __post_init__(self) -> None:
        if not 0 < self.floor <= self.scale:
            raise ValueError(
                f"needs 0 < floor <= scale; got floor={self.floor}, scale={self.scale}. "
                "Try likelihood.floor=0.01 likelihood.scale=1."
            )
        if self.scales != "shared" and not self.learn_scale:
            raise ValueError(
                f"a scale that is not learned is one for all; got scales={self.scales}. "
                "Try likelihood.learn_scale=true."
            )

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        return {} if self.learn_scale else {"floor": "the scale is not learned."}

    @property
    def support(self) -> Support:
        """The real line."""
        return "real"

    def num_outputs(self, size: int) -> int:
        """One mean per component of x, and one log scale where the network gives it."""
        return 2 * size if self.scales == "network" else size

    def init(self, size: int) -> dict[str, Array]:
        """Return log s if it is learned, unless the network gives it."""
        if not self.learn_scale or self.scales == "network":
            return {}
        start = jnp.log(jnp.asarray(self.scale, float))
        return {"log_scale": jnp.full((size,), start) if self.scales == "own" else start}

    def output_bias(self, mean: Array) -> Array:
        """Return the data mean, and the scale at its start."""
        if self.scales != "network":
            return mean
        return jnp.concatenate([mean, jnp.full(mean.shape, jnp.log(self.scale))])

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of `log_probs`, in nats."""
        return self.log_probs(params, outputs, x).sum()

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return log N(x_i; mean_i, s_i^2) of each entry, in nats."""
        mean, scale = self._mean_and_scale(params, outputs)
        return -0.5 * ((x - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * LOG_TWO_PI

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return E[x]."""
        return self._mean_and_scale(params, outputs)[0]

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        mean, scale = self._mean_and_scale(params, outputs)
        return mean + scale * jax.random.normal(key, mean.shape)

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return a sentence if the floor holds a learned scale."""
        if "log_scale" not in params:
            return []
        held = int(jnp.sum(params["log_scale"] <= jnp.log(self.floor)))
        if not held:
            return []
        which = "scale is" if self.scales == "shared" else f"scale of {held} components is"
        return [
            f"The likelihood's learned {which} at its floor {self.floor}, which sets the bound."
        ]

    def _mean_and_scale(self, params: dict[str, Array], outputs: Array) -> tuple[Array, Array]:
        if not self.learn_scale:
            return outputs, jnp.asarray(self.scale, float)
        if self.scales == "network":
            mean, log_scale = outputs
        else:
            mean, log_scale = outputs, params["log_scale"]
            log_scale = log_scale.reshape(mean.shape) if self.scales == "own" else log_scale
        return mean, jnp.exp(jnp.maximum(log_scale, jnp.log(self.floor)))
