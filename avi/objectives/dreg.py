"""The importance-weighted bound with doubly reparametrised gradients."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array

from avi.abilities import KnownDensity, Reparametrised
from avi.objectives.draws import draw_noise
from avi.objectives.iwae import ImportanceWeighted
from avi.types import Bound, Lam, PRNGKey, Target


@dataclass(frozen=True)
class DoublyReparametrised(ImportanceWeighted):
    """IWAE-k whose gradient in lam keeps its signal as k grows: DReG.

    Tucker, Lawson, Gu & Maddison (2019), eq. 8: with normalised weights w, the gradient in lam is
    sum_i w_i^2 d log weight_i / dz_i dz_i / dlam. That in theta is IWAE's own. The value is that of
    `iwae`; the signal of whose gradient in lam fades as 1 / sqrt(k) (Rainforth et al. 2018).
    """

    needs: ClassVar[tuple[type, ...]] = (Reparametrised, KnownDensity)

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        noise = draw_noise(family, key, self.num_samples, antithetic=False)
        model, theta, x = target
        held_theta, held_lam = jax.tree.map(stop_gradient, (theta, lam))

        def log_weight(theta: Any, z: Array) -> Array:
            return model.log_joint(theta, x, z) - family.log_prob(held_lam, z)

        def terms(eps: Array) -> tuple[Array, Array]:
            z = family.transport(lam, eps)
            return log_weight(theta, stop_gradient(z)), log_weight(held_theta, z)

        in_theta, in_lam = jax.vmap(terms)(noise)
        value = jax.nn.logsumexp(in_theta) - jnp.log(float(self.num_samples))
        share = stop_gradient(jax.nn.softmax(in_theta))
        squares = share**2 @ in_lam
        return Bound(value, value + squares - stop_gradient(squares))
