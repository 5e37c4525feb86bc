"""log p(x) by numerical integration over a latent of one or two dimensions."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.abilities import LowDimensional
from avi.evidence.peaks import Peaks, find
from avi.types import Estimate, Family, Kind, Lam, PRNGKey, Scalar, Target, Z

REACH = 12.0  # of the rule around the prior's centre, in standard deviations of the prior
BLOCK = 25  # nodes decoded at a time


@dataclass(frozen=True)
class Quadrature:
    """The trapezoid rule around every mode, z = mean + factor sinh(v): it converges exponentially.

    Nodes are as dense as a mode is narrow there and reach the prior's ends. The integrand is parted
    among the modes by smooth weights that sum to one, heavy-tailed, so that each rule sees one
    narrow peak and none is counted twice. The standard error is the difference to the rules on
    every second node, and the share of the heaviest peak that got no rule of its own.
    """

    num_nodes: int  # per dimension and mode, 4 n + 1
    needs: ClassVar[tuple[type, ...]] = (LowDimensional,)
    kind: ClassVar[Kind] = "exact"

    def __post_init__(self) -> None:
        if self.num_nodes < 5 or self.num_nodes % 4 != 1:
            raise ValueError(
                f"num_nodes must be 4 n + 1, so that every second node is a rule too; got "
                f"{self.num_nodes}. Try evidence.num_nodes=201."
            )

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate:
        """Return log p(x); the key draws from the prior, which tells how wide it is."""
        return self._over(target, find(target, family.mean(lam)[None], key))

    def told(self, target: Target, family: Family, lam: Lam, z: Z, key: PRNGKey) -> Estimate:
        """Return log p(x) by the peaks that are found and the one where z lies."""
        near = jnp.stack([family.mean(lam), z])
        return self._over(target, find(target, near, key))

    def _over(self, target: Target, peaks: Peaks) -> Estimate:

        def add(which: Array, sums: Float[Array, " 2"]) -> Float[Array, " 2"]:
            return jnp.logaddexp(sums, self._around(target, peaks, which))

        nothing = jnp.full(2, -jnp.inf)
        fine, coarse = jax.lax.fori_loop(0, peaks.number, add, nothing)
        undefined = jnp.asarray(jnp.nan)
        error = jnp.abs(fine - coarse) + jnp.minimum(jnp.exp(peaks.left - fine), 1.0)
        return Estimate(fine, error, undefined, undefined, undefined)

    def _around(self, target: Target, peaks: Peaks, which: Array) -> Float[Array, " 2"]:
        """Return the log integral of one mode's part, by all nodes and by every second one."""
        mean, factor = peaks.mean[which], peaks.factor[which]
        size = mean.size
        far = REACH * peaks.spread + jnp.abs(mean - peaks.centre)
        reach = jnp.arcsinh(jnp.linalg.norm(far) / jnp.linalg.norm(factor, axis=0))  # [d]
        unit = jnp.linspace(-1.0, 1.0, self.num_nodes)
        nodes = jnp.stack(jnp.meshgrid(*[unit] * size, indexing="ij"), axis=-1)
        log_volume = jnp.log(jnp.diagonal(factor)).sum() + jnp.log(reach).sum()

        def log_integrand(node: Float[Array, " d"]) -> Scalar:
            v = reach * node
            z = mean + factor @ jnp.sinh(v)
            log_stretch = log_volume + jnp.log(jnp.cosh(v)).sum()
            log_joint = target.model.log_joint(target.theta, target.x, z)
            return log_joint + log_stretch + _log_share(peaks, which, z)

        flat = nodes.reshape(-1, size)
        values = jax.lax.map(log_integrand, flat, batch_size=BLOCK).reshape(nodes.shape[:-1])
        width = unit[1] - unit[0]
        every_second = values[(slice(None, None, 2),) * size]
        fine = jax.nn.logsumexp(values) + size * jnp.log(width)
        return jnp.stack([fine, jax.nn.logsumexp(every_second) + size * jnp.log(2 * width)])


def _log_share(peaks: Peaks, which: Array, z: Array) -> Scalar:
    """Return the log of one mode's share at z: its Cauchy density over those of all modes."""
    size = z.size

    def log_density(mean: Array, factor: Array) -> Scalar:
        moved = jax.scipy.linalg.solve_triangular(factor, z - mean, lower=True)
        return -jnp.log(jnp.diagonal(factor)).sum() - 0.5 * (size + 1) * jnp.log1p(moved @ moved)

    logs = jax.vmap(log_density)(peaks.mean, peaks.factor)
    logs = jnp.where(jnp.arange(len(logs)) < peaks.number, logs, -jnp.inf)
    return logs[which] - jax.nn.logsumexp(logs)
