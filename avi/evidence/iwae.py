"""Importance sampling: a stochastic lower bound on log p(x), with its own diagnosis."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import KnownDensity, Reparametrised, StandardNormalPrior
from avi.types import Estimate, Family, Kind, Lam, PRNGKey, Target

ALIKE = 64  # units in the last place by which equal weights may differ
BLOCK = 25  # draws decoded at a time: reports put a hundred points side by side


@dataclass(frozen=True)
class ImportanceSampling:
    """log of the mean of k weights p(x, z) / r(z), r a mixture of a widened q and the prior.

    E[value] <= log p(x) by Jensen's inequality (Burda, Grosse & Salakhutdinov 2016). A mean-field q
    alone is too narrow: its weights have infinite variance where the posterior correlates. Mixing
    in the prior bounds every weight by p(x | z) / prior_share (Hesterberg 1995, "defensive"
    sampling). khat is the Pareto shape of the weights' tail (Vehtari et al. 2024): above
    min(1 - 1 / log10 k, 0.7) a report does not call the estimate evidence.
    """

    num_samples: int  # k
    widening: float  # factor on the scale of q
    prior_share: float  # of the draws
    needs: ClassVar[tuple[type, ...]] = (StandardNormalPrior, Reparametrised, KnownDensity)
    kind: ClassVar[Kind] = "lower"

    def __post_init__(self) -> None:
        if self.num_samples < BLOCK or self.num_samples % BLOCK:
            raise ValueError(f"num_samples must be a multiple of {BLOCK}; got {self.num_samples}.")
        if not self.widening >= 1:
            raise ValueError(f"widening must be 1 or more; got {self.widening}.")
        if not 0 < self.prior_share < 1:
            raise ValueError(f"prior_share must be between 0 and 1; got {self.prior_share}.")

    @property
    def num_weights(self) -> int:
        """The k of the name IWAE-k."""
        return self.num_samples

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate:
        """Return the estimate; its standard error is by the delta method."""
        keys = jax.random.split(key, (self.num_samples // BLOCK, BLOCK))

        def log_weight(draw_key: PRNGKey) -> Array:
            return self._log_weight(target, family, lam, draw_key)

        log_weights = jax.lax.map(jax.vmap(log_weight), keys).ravel()
        value, error, ess = mean_of_weights(log_weights)
        return Estimate(value, error, ess, pareto_khat(log_weights), jnp.asarray(jnp.nan))

    def _log_weight(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Array:
        which_key, prior_key, q_key = jax.random.split(key, 3)
        mean, size = family.mean(lam), family.latent.size
        from_prior = jax.random.normal(prior_key, (size,))
        from_q = mean + self.widening * (family.sample(lam, q_key) - mean)
        z = jnp.where(jax.random.bernoulli(which_key, self.prior_share), from_prior, from_q)
        log_q = family.log_prob(lam, mean + (z - mean) / self.widening)
        log_q = log_q - size * jnp.log(self.widening)
        log_prior = jax.scipy.stats.norm.logpdf(z).sum()
        log_proposal = jnp.logaddexp(
            jnp.log(self.prior_share) + log_prior, jnp.log1p(-self.prior_share) + log_q
        )
        return target.model.log_joint(target.theta, target.x, z) - log_proposal


def mean_of_weights(log_weights: Array) -> tuple[Array, Array, Array]:
    """Return the log of the mean of exp(log_weights), float[S], its standard error, and their ESS.

    The error is that of a log of a mean, by the delta method.
    """
    number = len(log_weights)
    total = jax.nn.logsumexp(log_weights)
    ess = 1 / jnp.sum(jnp.exp(log_weights - total) ** 2)
    error = jnp.sqrt(jnp.maximum(1 / ess - 1 / number, 0.0))
    return total - jnp.log(float(number)), error, ess


def pareto_khat(log_weights: Array) -> Array:
    """Return the Pareto shape k of the tail of exp(log_weights), float[S] with S >= 25.

    Infinite where it has none that is finite, as where a single weight is all there is. Zero where
    all are alike but for rounding: q is p(z | x), and there is no tail.
    """
    from blackjax.diagnostics import psis_weights

    weights = jnp.asarray(log_weights)
    khat = psis_weights(weights)[1]
    rounding = ALIKE * jnp.finfo(weights.dtype).eps * jnp.maximum(jnp.abs(weights).max(), 1.0)
    alike = jnp.ptp(weights) <= rounding
    return jnp.where(alike, 0.0, jnp.where(jnp.isnan(khat), jnp.inf, khat))
