"""The importance-weighted bound by the score function, with a baseline from the other draws."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import KnownDensity
from avi.objectives.draws import by_score
from avi.types import Bound, Family, Lam, PRNGKey, Scalar, Target


@dataclass(frozen=True)
class Vimco:
    """IWAE-k for families that cannot be reparametrised; needs k >= 2.

    Mnih & Rezende (2016), eqs. 5-8: the learning signal of a draw is the bound less the bound with
    that draw's weight replaced by the geometric mean of the others, so that it is unbiased.
    """

    num_samples: int  # k
    needs: ClassVar[tuple[type, ...]] = (KnownDensity,)

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

        def iwae(log_weights: Array) -> Scalar:
            return jax.nn.logsumexp(log_weights) - jnp.log(float(self.num_samples))

        return by_score(iwae, self.num_samples, target, family, lam, key)

    def evaluations(self, family: Family) -> int:
        """Return k."""
        del family
        return self.num_samples
