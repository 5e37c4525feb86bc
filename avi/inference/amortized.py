"""Amortized variational inference: one network from x to lam."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from avi.types import Family, Lam, Local, Network, Phi, PRNGKey, X


@dataclass(frozen=True)
class Amortized:
    """lam = start + network(phi, x) (Kingma & Welling 2014; Rezende, Mohamed & Wierstra 2014).

    phi has constant size, and a new observation costs one forward pass.
    """

    network: Network
    needs: ClassVar[tuple[type, ...]] = ()
    per_datapoint: ClassVar[bool] = False

    def init(self, key: PRNGKey, family: Family, x: X, num_data: int) -> Phi:
        """Return the network's initial weights."""
        del num_data
        return self.network.init(key, x, jnp.zeros(family.num_params))

    def infer(self, phi: Phi, x: X, key: PRNGKey, local: Local) -> Lam:
        """Return lam from one forward pass."""
        del key
        return local.family.init() + self.network.apply(phi, x, local.family.num_params)

    def unseen(self) -> "Amortized":
        """Return itself."""
        return self

    def inner_calls(self) -> int:
        """Return 0."""
        return 0
