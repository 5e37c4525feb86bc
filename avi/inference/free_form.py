"""Free-form variational inference: a row of lam for every datapoint."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.inference.refined import Refined
from avi.inference.start import Start
from avi.types import Family, Inference, Lam, Local, Phi, PRNGKey, Refine, X


@dataclass(frozen=True)
class FreeForm:
    """phi is a table float[N, P]; the lam of a training datapoint is its own row.

    The number of variational parameters grows with the data, and an observation outside the table
    needs an optimisation: `refine` from the family's start.
    """

    refine: Refine
    needs: ClassVar[tuple[type, ...]] = ()
    per_datapoint: ClassVar[bool] = True

    def init(self, key: PRNGKey, family: Family, x: X, num_data: int) -> Float[Array, "N P"]:
        """Return a table whose rows are the family's start."""
        del key, x
        return jnp.tile(family.init(), (num_data, 1))

    def infer(self, phi: Phi, x: X, key: PRNGKey, local: Local) -> Lam:
        """Return the datapoint's own row."""
        del x, key, local
        return phi

    def unseen(self) -> Inference:
        """Return the optimisation that an observation outside the table needs."""
        return Refined(Start(), self.refine, backprop=False)

    def inner_calls(self) -> int:
        """Return 0."""
        return 0
