"""The family whose weights are free for each datapoint."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from avi.abilities import draw_and_log_prob, psi_of
from avi.types import Family, Lam, Latent, PRNGKey, Psi, Scalar, Z


@dataclass(frozen=True)
class Localised:
    """`family` with its weights psi in lam: lam = [lam of the family, psi].

    Where the weights are shared, best bounds are lower by the weight-sharing gap: for every x, the
    best lam at a shared psi is no better than the best (lam, psi). Under an encoder the weights
    come from it.
    """

    family: Any  # with shared weights

    @property
    def latent(self) -> Latent:
        """The family's."""
        latent: Latent = self.family.latent
        return latent

    @cached_property
    def _like(self) -> Psi:
        return jax.eval_shape(self.family.init_psi, jax.random.key(0))

    @property
    def num_params(self) -> int:
        """P of the family and the number of its weights."""
        number: int = self.family.num_params
        return number + sum(leaf.size for leaf in jax.tree.leaves(self._like))

    def holds(self, smaller: Family) -> bool:
        """Whether the other is this family at shared weights."""
        own, theirs = (jax.tree.map(jnp.shape, psi) for psi in (self._like, psi_of(smaller)))
        same = smaller.num_params == self.family.num_params and own == theirs
        return isinstance(smaller, type(self.family)) and same

    def embed(self, smaller: Family, lam: Lam) -> Lam:
        """Return the lam with the other's weights in it."""
        return _joined(lam, psi_of(smaller))

    def init(self) -> Lam:
        """Return the family's start with its weights as they begin."""
        return _joined(self.family.init(), self.family.init_psi(jax.random.key(0)))

    def member(self, mean: Array, deviation: Array) -> Lam:
        """Return the family's member with its weights as they begin."""
        lam = self.family.member(mean, deviation)
        return _joined(lam, self.family.init_psi(jax.random.key(0)))

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return lam displaced as the family displaces its own; weights move by their step."""
        family, own = self._at(lam)
        moved = family.displace(own, step[: own.size])
        return jnp.concatenate([moved, lam[own.size :] + step[own.size :]])

    def noise(self, key: PRNGKey) -> Array:
        """Draw the family's noise."""
        noise: Array = self.family.noise(key)
        return noise

    def transport(self, lam: Lam, eps: Array) -> Z:
        """Return the family's z of this noise."""
        family, own = self._at(lam)
        return family.transport(own, eps)

    def transport_and_log_prob(self, lam: Lam, eps: Array) -> tuple[Z, Scalar]:
        """Return the family's z of this noise and log q(z)."""
        family, own = self._at(lam)
        return draw_and_log_prob(family, own, eps)

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        family, own = self._at(lam)
        return family.sample(own, key)

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats."""
        family, own = self._at(lam)
        return family.log_prob(own, z)

    def mean(self, lam: Lam) -> Array:
        """Return E[z]."""
        family, own = self._at(lam)
        return family.mean(own)

    def standard_deviation(self, lam: Lam) -> Array:
        """Return the marginal standard deviations."""
        family, own = self._at(lam)
        return family.standard_deviation(own)

    def _at(self, lam: Lam) -> tuple[Any, Lam]:
        leaves, structure = jax.tree.flatten(self._like)
        own, *flat = jnp.split(lam, _ends(self.family.num_params, leaves))
        parts = [part.reshape(leaf.shape) for part, leaf in zip(flat, leaves, strict=True)]
        return self.family.given(jax.tree.unflatten(structure, parts)), own


def _joined(lam: Lam, psi: Psi) -> Lam:
    return jnp.concatenate([lam, ravel_pytree(psi)[0]])


def _ends(first: int, leaves: list[Any]) -> list[int]:
    """Return where each part but the last ends."""
    ends = [first]
    for leaf in leaves[:-1]:
        ends.append(ends[-1] + leaf.size)
    return ends
