"""The prior that most models have."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from avi.conjugate import LOG_TWO_PI
from avi.types import PRNGKey, Scalar, Z


@dataclass(frozen=True)
class StandardNormal:
    """z ~ N(0, I), without parameters."""

    standard: ClassVar[bool] = True

    def init(self, key: PRNGKey) -> dict[str, Any]:
        """Return nothing."""
        del key
        return {}

    def log_prob(self, params: dict[str, Any], z: Z) -> Scalar:
        """Return log N(z; 0, I) in nats."""
        del params
        return -0.5 * jnp.sum(z**2 + LOG_TWO_PI)

    def sample(self, params: dict[str, Any], key: PRNGKey, size: int) -> Z:
        """Draw z of this size."""
        del params
        return jax.random.normal(key, (size,))
