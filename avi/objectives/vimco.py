"""The importance-weighted bound by the score function, with a baseline from the other draws."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array

from avi.types import Bound, Family, Lam, PRNGKey, Target


@dataclass(frozen=True)
class Vimco:
    """IWAE-k for families that cannot be reparametrised; needs k >= 2.

    Mnih & Rezende (2016), eqs. 5-8: the learning signal of a draw is the bound less the bound with
    that draw's weight replaced by the geometric mean of the others, so that it is unbiased.
    """

    num_samples: int  # k
    needs: ClassVar[tuple[type, ...]] = ()

    def __post_init__(self) -> None:
        if self.num_samples < 2:
            raise ValueError(
                "vimco needs num_samples >= 2 (its baseline leaves one out); got "
                f"{self.num_samples}. Try objective.num_samples=10."
            )

    @property
    def bound_name(self) -> str:
        """IWAE-k."""
        return f"IWAE-{self.num_samples}"

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        number = self.num_samples

        def one(draw_key: PRNGKey) -> tuple[Array, Array]:
            z = stop_gradient(family.sample(lam, draw_key))
            log_q = family.log_prob(lam, z)
            return target.model.log_joint(target.theta, target.x, z) - log_q, log_q

        log_weights, log_q = jax.vmap(one)(jax.random.split(key, number))
        value = jax.nn.logsumexp(log_weights) - jnp.log(float(number))
        fixed = stop_gradient(log_weights)
        others = (fixed.sum() - fixed) / (number - 1)
        replaced = jnp.where(jnp.eye(number, dtype=bool), others[:, None], fixed)
        baseline = jax.nn.logsumexp(replaced, axis=1) - jnp.log(float(number))
        signal = stop_gradient(value) - baseline
        return Bound(value, value + signal @ (log_q - stop_gradient(log_q)))

    def evaluations(self, family: Family) -> int:
        """Return k."""
        del family
        return self.num_samples
