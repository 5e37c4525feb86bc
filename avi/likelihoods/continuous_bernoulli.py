"""Continuous Bernoulli likelihood for x in [0, 1]."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.types import PRNGKey, Scalar, Support

SMALL = 0.05  # below, series in the logit: their error is under 1e-9, and the exact forms cancel


@dataclass(frozen=True)
class ContinuousBernoulli:
    """Independent x_i in [0, 1] with density C(l) exp(l x) / (1 + e^l), l the network's logit.

    Loaiza-Ganem & Cunningham (2019): a Bernoulli cross-entropy on grey values is not a density;
    the normaliser C makes it one.
    """

    @property
    def support(self) -> Support:
        """[0, 1]."""
        return "unit"

    def num_outputs(self, size: int) -> int:
        """One logit per component of x."""
        return size

    def init(self, size: int) -> dict[str, Array]:
        """Return no parameters."""
        del size
        return {}

    def output_bias(self, mean: Array) -> Array:
        """Return the l whose mean is the data mean, kept within [0.05, 0.95]."""
        mean = jnp.clip(mean, 0.05, 0.95)

        def halve(step: Array, logits: Array) -> Array:
            # E[x] grows with l, and |l| < 2^5 holds all of these means.
            return logits + 2.0 ** (4 - step) * jnp.sign(mean - self.mean({}, logits))

        return jax.lax.fori_loop(0, 30, halve, jnp.zeros_like(mean))

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of `log_probs`, in nats."""
        return self.log_probs(params, outputs, x).sum()

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return l_i x_i - log((e^(l_i) - 1) / l_i) of each entry, in nats."""
        del params
        return outputs * x - _log_integral(outputs)

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return E[x] = 1 / (1 - e^(-l)) - 1 / l."""
        del params
        safe = jnp.where(jnp.abs(outputs) < SMALL, 1.0, outputs)
        series = 0.5 + outputs / 12 - outputs**3 / 720
        return jnp.where(jnp.abs(outputs) < SMALL, series, -1 / jnp.expm1(-safe) - 1 / safe)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x by inverting the distribution function, x = log(1 + u (e^l - 1)) / l."""
        del params
        uniform = jax.random.uniform(key, outputs.shape, outputs.dtype)
        # With l < 0 the exponential stays below 1; l > 0 is the mirror image 1 - x.
        negative = -jnp.maximum(jnp.abs(outputs), SMALL)
        exact = jnp.log1p(uniform * jnp.expm1(negative)) / negative
        magnitude = jnp.abs(outputs)
        series = uniform - magnitude / 2 * uniform * (1 - uniform) * (
            1 - magnitude * (1 - 2 * uniform) / 3
        )
        low = jnp.where(magnitude < SMALL, series, exact)
        return jnp.clip(jnp.where(outputs > 0, 1 - low, low), 0.0, 1.0)

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return nothing."""
        del params
        return []


def _log_integral(logits: Array) -> Array:
    """Return log of the integral of e^(l x) over [0, 1], log((e^l - 1) / l)."""
    small = jnp.abs(logits) < SMALL
    magnitude = jnp.where(small, SMALL, jnp.abs(logits))
    exact = jnp.log(-jnp.expm1(-magnitude)) - jnp.log(magnitude) + jnp.maximum(logits, 0.0)
    series = logits / 2 + logits**2 / 24 - logits**4 / 2880
    return jnp.where(small, series, exact)
