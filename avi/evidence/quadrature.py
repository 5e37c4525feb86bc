"""log p(x) by numerical integration over a latent of one or two dimensions."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.abilities import LowDimensional
from avi.types import Estimate, Family, Kind, Lam, PRNGKey, Target

REACH = 12.0  # of the grid around the origin, in standard deviations of a N(0, 1) prior
BLOCK = 25  # nodes decoded at a time


@dataclass(frozen=True)
class Quadrature:
    """The trapezoid rule in v, z = mean + deviation * sinh(v), which converges exponentially.

    Nodes are as dense as q is narrow near its mean and still reach the prior's ends, so that a
    second mode is not lost. The standard error is the difference to the rule on every second node.
    """

    num_nodes: int  # per dimension, odd
    needs: ClassVar[tuple[type, ...]] = (LowDimensional,)
    kind: ClassVar[Kind] = "exact"

    def __post_init__(self) -> None:
        if self.num_nodes < 5 or self.num_nodes % 4 != 1:
            raise ValueError(
                f"num_nodes must be 4 n + 1, so that every second node is a rule too; got "
                f"{self.num_nodes}. Try evidence.num_nodes=201."
            )

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate:
        """Return log p(x); the key is not used."""
        del key
        mean, deviation = family.mean(lam), family.standard_deviation(lam)
        reach = jnp.arcsinh((REACH + jnp.abs(mean)) / deviation)  # [d]
        unit = jnp.linspace(-1.0, 1.0, self.num_nodes)
        nodes = jnp.stack(jnp.meshgrid(*[unit] * mean.size, indexing="ij"), axis=-1)

        def log_integrand(node: Float[Array, " d"]) -> Array:
            v = reach * node
            z = mean + deviation * jnp.sinh(v)
            log_stretch = jnp.sum(jnp.log(deviation * reach) + jnp.log(jnp.cosh(v)))
            return target.model.log_joint(target.theta, target.x, z) + log_stretch

        flat = nodes.reshape(-1, mean.size)
        values = jax.lax.map(log_integrand, flat, batch_size=BLOCK).reshape(nodes.shape[:-1])
        width = unit[1] - unit[0]
        fine = jax.nn.logsumexp(values) + mean.size * jnp.log(width)
        every_second = values[(slice(None, None, 2),) * mean.size]
        coarse = jax.nn.logsumexp(every_second) + mean.size * jnp.log(2 * width)
        undefined = jnp.asarray(jnp.nan)
        return Estimate(fine, jnp.abs(fine - coarse), undefined, undefined)
