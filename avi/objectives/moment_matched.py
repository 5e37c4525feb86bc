"""The ELBO on draws whose mean is exactly 0 and whose covariance is exactly I."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.abilities import Noisy
from avi.objectives.draws import draws_per_noise, elbo_of
from avi.types import Bound, Family, Lam, PRNGKey, Target


def matched_draws(family: Any, key: PRNGKey, num_samples: int) -> Float[Array, "S d"]:
    """Return [S, d] draws of the noise with mean exactly 0 and covariance exactly I; S > d."""
    noise = jax.vmap(family.noise)(jax.random.split(key, num_samples))
    noise = noise - noise.mean(axis=0)
    factor = jnp.linalg.cholesky(noise.T @ noise / num_samples)
    return jax.scipy.linalg.solve_triangular(factor, noise.T, lower=True).T


@dataclass(frozen=True)
class MomentMatched:
    """Mean of log p(x, z) + entropy over S moment-matched draws: exact for quadratic log p.

    Slightly biased elsewhere (the fourth moments of S matched draws are those of a sphere, not of a
    Gaussian), so it serves curvature and gradients near an optimum, and never a reported bound.
    """

    num_samples: int  # S, more than the entries of the noise
    needs: ClassVar[tuple[type, ...]] = (Noisy,)

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        noise = matched_draws(family, key, self.num_samples)

        value = jax.vmap(lambda eps: elbo_of(target, family, lam, eps))(noise).mean()
        return Bound(value, value)

    def evaluations(self, family: Family) -> int:
        """Return S, times the components of a mixture."""
        return self.num_samples * draws_per_noise(family)
