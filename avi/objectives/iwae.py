"""The importance-weighted bound."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import Reparametrised, draw_and_log_prob
from avi.objectives.draws import draw_noise, refuse_draws
from avi.types import Bound, Family, Lam, PRNGKey, Target


@dataclass(frozen=True)
class ImportanceWeighted:
    """Log of the mean of k importance weights p(x, z) / q(z).

    Burda, Grosse & Salakhutdinov (2016), eq. 8. At least the ELBO, at most the evidence,
    non-decreasing in k; k = 1 is the ELBO.
    """

    num_samples: int  # k
    needs: ClassVar[tuple[type, ...]] = (Reparametrised,)

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples)

    @property
    def bound_name(self) -> str:
        """IWAE-k."""
        return f"IWAE-{self.num_samples}"

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        noise = draw_noise(family, key, self.num_samples, antithetic=False)

        def log_weight(eps: Array) -> Array:
            z, log_q = draw_and_log_prob(family, lam, eps)
            return target.model.log_joint(target.theta, target.x, z) - log_q

        value = jax.nn.logsumexp(jax.vmap(log_weight)(noise)) - jnp.log(float(self.num_samples))
        return Bound(value, value)

    def evaluations(self, family: Family) -> int:
        """Return k."""
        del family
        return self.num_samples
