"""The thermodynamic variational objective: the ELBO along a path from q to the posterior."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avi.abilities import KnownDensity
from avi.objectives.draws import by_score, refuse_draws
from avi.types import Bound, Family, Lam, PRNGKey, Scalar, Target


@dataclass(frozen=True)
class Thermodynamic:
    """sum_k (b_(k+1) - b_k) E_k[log w], w = p(x, z) / q(z), over the path q w^b from b = 0 to 1.

    Masrani, Le & Wood (2019), eq. 6, with the weights of the same S draws at every b: it lies
    between the ELBO (one partition) and IWAE-S (many), as the mean of log w rises with b. Its
    gradient is that of its own mean by the score function, so that any family will do.
    """

    num_samples: int  # S
    partitions: int  # K
    first: float  # b_1, from which log b rises evenly to 0; of no account with one partition
    needs: ClassVar[tuple[type, ...]] = (KnownDensity,)

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples)
        if self.num_samples < 2:
            raise ValueError(
                "the thermodynamic objective needs num_samples >= 2 (its baseline leaves one out); "
                f"got {self.num_samples}. Try objective.num_samples=10."
            )
        if self.partitions < 1:
            raise ValueError(f"partitions must be 1 or more; got {self.partitions}.")
        if not 0 < self.first < 1:
            raise ValueError(
                f"first must lie between 0 and 1; got {self.first:g}. Try objective.first=0.025."
            )

    @property
    def bound_name(self) -> str:
        """TVO, K and S."""
        return f"TVO({self.partitions})-{self.num_samples}"

    def powers(self) -> Float[np.ndarray, " K"]:
        """Return b_0 = 0 .. b_(K-1)."""
        rising = np.geomspace(self.first, 1, self.partitions)[: self.partitions - 1]
        return np.concatenate([np.zeros(1), rising])

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        powers = jnp.asarray(self.powers(), lam.dtype)
        widths = jnp.diff(powers, append=1.0)

        def along_the_path(log_weights: Array) -> Scalar:
            weights = jax.nn.softmax(powers[:, None] * log_weights, axis=1)
            return widths @ (weights @ log_weights)

        return by_score(along_the_path, self.num_samples, target, family, lam, key)

    def evaluations(self, family: Family) -> int:
        """Return S."""
        del family
        return self.num_samples
