"""No estimate of log p(x): the amortization gap alone."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from avi.types import Estimate, Family, Kind, Lam, PRNGKey, Target


@dataclass(frozen=True)
class NoEvidence:
    """Leaves the evidence undefined where nothing estimates it well (simplex or finite latents)."""

    needs: ClassVar[tuple[type, ...]] = ()
    kind: ClassVar[Kind] = "none"

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate:
        """Return NaN."""
        del target, family, lam, key
        undefined = jnp.asarray(jnp.nan)
        return Estimate(*[undefined] * len(Estimate._fields))
