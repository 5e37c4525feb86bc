"""The chi upper bound: q that covers all of the posterior."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array

from avi.abilities import Reparametrised, draw_and_log_prob
from avi.objectives.draws import draw_noise, refuse_draws
from avi.types import Bound, Family, Lam, PRNGKey, Scalar, Target


@dataclass(frozen=True)
class Cubo:
    """lam minimises log E_q[w^n] / n >= log p(x); theta, and what is reported, is the ELBO's.

    Dieng, Tran, Ranganath, Paisley & Blei (2017), eq. 5 and algorithm 1: the gradient is that of
    E_q[w^n], each datapoint's divided by its own size. Ascent would raise an upper bound in theta,
    so theta climbs the ELBO of the same draws.
    """

    power: float  # n, more than 1; 2 is the chi-square divergence
    num_samples: int  # S
    needs: ClassVar[tuple[type, ...]] = (Reparametrised,)
    bound_name: ClassVar = "ELBO"

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples)
        if not self.power > 1:
            raise ValueError(f"power must be more than 1; got {self.power}. Try objective=iwae.")

    @property
    def trained_name(self) -> str:
        """CUBO and its power, minimised in lam."""
        return f"CUBO-{self.power:g} in lam, ELBO in theta"

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the ELBO, and the surrogate of both."""
        held = target._replace(theta=stop_gradient(target.theta))
        upper = self.upper(held, family, lam, key)
        in_theta = self._log_weights(target, family, stop_gradient(lam), key).mean()
        return Bound(in_theta, in_theta - upper)

    def upper(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Scalar:
        """Return log mean w^n / n, which lies below its limit by the noise of the mean."""
        tilted = self.power * self._log_weights(target, family, lam, key)
        total = jax.nn.logsumexp(tilted) - jnp.log(float(self.num_samples))
        return total / self.power

    def _log_weights(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Array:
        def log_weight(eps: Array) -> Array:
            z, log_q = draw_and_log_prob(family, lam, eps)
            return target.model.log_joint(target.theta, target.x, z) - log_q

        return jax.vmap(log_weight)(draw_noise(family, key, self.num_samples, antithetic=False))

    def evaluations(self, family: Family) -> int:
        """S, for lam and for theta."""
        del family
        return 2 * self.num_samples
