"""Rényi's variational bound."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import Reparametrised, draw_and_log_prob
from avi.objectives.draws import draw_noise, refuse_draws
from avi.types import Bound, Family, Lam, PRNGKey, Target


@dataclass(frozen=True)
class Renyi:
    """log mean_k w^(1 - alpha) / (1 - alpha) over k importance weights w = p(x, z) / q(z).

    Li & Turner (2016), eq. 8. It falls as alpha rises: from log p(x) (alpha = 0, k to infinity; at
    finite k that is IWAE-k) over the ELBO (alpha = 1) to the least log w. An alpha below 0 aims
    above log p(x), where k draws do not reach: its mean is no bound at all, at no k, and alpha
    above 0 with k draws lies above its own limit. Its name carries alpha and k.
    """

    alpha: float  # not 1
    num_samples: int  # k
    needs: ClassVar[tuple[type, ...]] = (Reparametrised,)

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples)
        if self.alpha == 1:
            raise ValueError("alpha=1 is the ELBO. Try objective=elbo.")

    @property
    def bound_name(self) -> str:
        """Renyi, alpha and k, in letters that every terminal has."""
        return f"Renyi({self.alpha:g})-{self.num_samples}"

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        noise = draw_noise(family, key, self.num_samples, antithetic=False)
        power = 1 - self.alpha

        def tilted(eps: Array) -> Array:
            z, log_q = draw_and_log_prob(family, lam, eps)
            return power * (target.model.log_joint(target.theta, target.x, z) - log_q)

        total = jax.nn.logsumexp(jax.vmap(tilted)(noise)) - jnp.log(float(self.num_samples))
        return Bound(total / power, total / power)

    def evaluations(self, family: Family) -> int:
        """Return k."""
        del family
        return self.num_samples
