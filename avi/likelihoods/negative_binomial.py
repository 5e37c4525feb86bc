"""Negative binomial likelihood for counts that vary by more than their mean."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.likelihoods.poisson import SMALLEST
from avi.randomness import for_simulators
from avi.types import PRNGKey, Scalar, Support

LIMIT = 20.0  # of log concentrations: beyond, the variance is the mean to nine digits


@dataclass(frozen=True)
class NegativeBinomial:
    """Independent counts of mean m_i and variance m_i + m_i^2 / r_i, with extra zeros if so.

    A Poisson count whose rate is Gamma(r, r / m): the concentration r is one for all entries
    (`shared`), one for each (`own`), or comes from the network beside m. Under `zero_inflated` an
    entry is 0 with a probability that the network gives too, whatever the count would have been.
    """

    concentration: float  # r at the start
    dispersion: Literal["shared", "own", "network"]
    zero_inflated: bool

    def __post_init__(self) -> None:
        if not self.concentration > 0:
            raise ValueError(
                f"concentration must be positive; got {self.concentration}. Try concentration=1."
            )

    @property
    def support(self) -> Support:
        """0, 1, 2, ..."""
        return "count"

    @property
    def _each(self) -> int:
        """Numbers that the network gives per component of x."""
        return 1 + (self.dispersion == "network") + self.zero_inflated

    def num_outputs(self, size: int) -> int:
        """A log mean, and a log concentration and a logit of extra zeros where they are asked."""
        return self._each * size

    def init(self, size: int) -> dict[str, Array]:
        """Return log r, unless the network gives it."""
        if self.dispersion == "network":
            return {}
        shape = (size,) if self.dispersion == "own" else ()
        return {"log_concentration": jnp.full(shape, jnp.log(self.concentration))}

    def output_bias(self, mean: Array) -> Array:
        """Return the log of the data mean, r at its start, and few extra zeros."""
        parts = [jnp.log(jnp.maximum(mean, SMALLEST))]
        if self.dispersion == "network":
            parts.append(jnp.full(mean.shape, jnp.log(self.concentration)))
        if self.zero_inflated:
            parts.append(jnp.full(mean.shape, -2.0))
        return jnp.concatenate([part.ravel() for part in parts])

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of `log_probs`, in nats."""
        return self.log_probs(params, outputs, x).sum()

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return the log probability of each count, in nats."""
        log_mean, log_r, logit = self._parts(params, outputs)
        r, gammaln = jnp.exp(log_r), jax.scipy.special.gammaln
        both = jnp.logaddexp(log_r, log_mean)
        counted = gammaln(x + r) - gammaln(r) - gammaln(x + 1)
        counted += r * (log_r - both) + x * (log_mean - both)
        if logit is None:
            return counted
        kept = counted + jax.nn.log_sigmoid(-logit)
        return jnp.where(x == 0, jnp.logaddexp(jax.nn.log_sigmoid(logit), kept), kept)

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return E[x]."""
        log_mean, _, logit = self._parts(params, outputs)
        mean = jnp.exp(log_mean)
        return mean if logit is None else mean * jax.nn.sigmoid(-logit)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        log_mean, log_r, logit = self._parts(params, outputs)
        rate_key, count_key, zero_key = jax.random.split(for_simulators(key), 3)
        r = jnp.broadcast_to(jnp.exp(log_r), log_mean.shape)
        rate = jax.random.gamma(rate_key, r) * jnp.exp(log_mean - log_r)
        counts = jax.random.poisson(count_key, rate).astype(outputs.dtype)
        if logit is None:
            return counts
        return jnp.where(jax.random.bernoulli(zero_key, jax.nn.sigmoid(logit)), 0.0, counts)

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return nothing."""
        del params
        return []

    def _parts(self, params: dict[str, Array], outputs: Array) -> tuple[Array, Array, Array | None]:
        """Return log m, log r and the logits of extra zeros, each in the shape of x."""
        parts = list(outputs) if self._each > 1 else [outputs]
        log_mean = parts.pop(0)
        log_r = parts.pop(0) if self.dispersion == "network" else params["log_concentration"]
        if self.dispersion == "own":
            log_r = log_r.reshape(log_mean.shape)
        return log_mean, jnp.clip(log_r, -LIMIT, LIMIT), parts[0] if parts else None
