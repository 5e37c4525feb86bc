"""log p(x) where the model knows it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from avi.abilities import Tractable
from avi.types import Estimate, Family, Kind, Lam, PRNGKey, Target


@dataclass(frozen=True)
class Exact:
    """The model's own log evidence."""

    needs: ClassVar[tuple[type, ...]] = (Tractable,)
    kind: ClassVar[Kind] = "exact"

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate:
        """Return log p(x); family, lam and key are not used."""
        del family, lam, key
        model: Any = target.model
        value, undefined = model.log_evidence(target.theta, target.x), jnp.asarray(jnp.nan)
        return Estimate(value, jnp.zeros(()), undefined, undefined, undefined)
