"""EM's step on theta, for models that know its closed form."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from avi.abilities import ClosedFormEM
from avi.types import Family, Model, X


@dataclass(frozen=True)
class ExpectationMaximisation:
    """theta goes to the maximum of the expected log joint under p(z | x, theta) of all rows.

    No step lowers the mean of log p(x) (Dempster, Laird & Rubin 1977). The posterior is the model's
    own, whatever q is, so theta ends where maximum likelihood does and q follows.
    """

    needs: ClassVar[tuple[type, ...]] = (ClosedFormEM,)
    forgetful: ClassVar[bool] = True

    def bind(self, family: Family) -> optax.GradientTransformationExtraArgs:
        """Return the transformation that ignores gradients and takes the step on the rows."""
        del family
        return optax.GradientTransformationExtraArgs(self._init, self._update)

    def _init(self, params: optax.Params) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def _update(
        self,
        gradients: optax.Updates,
        state: optax.EmptyState,
        params: optax.Params | None = None,
        *,
        model: Model,
        x: X,
        **others: Any,
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del gradients, others
        assert isinstance(model, ClosedFormEM)
        return jax.tree.map(jnp.subtract, model.em_step(params, x), params), state
