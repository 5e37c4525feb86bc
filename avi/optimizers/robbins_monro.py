"""Hoffman's step on the distribution of the globals: theta moves by rho_t N times the gradient."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from avi.abilities import Conjugate
from avi.errors import ConfigError
from avi.types import Family


class RobbinsMonroState(NamedTuple):
    """How many steps there were."""

    taken: Int[Array, ""]


@dataclass(frozen=True)
class RobbinsMonro:
    """theta <- theta + rho N gradient, with rho = (t + tau)^-kappa at the t-th move, t = 1, 2, ...

    The bound of a conjugate model hands over the natural gradient of one datapoint's share, so
    this is (1 - rho) theta + rho (prior + N / B sum of expected statistics): stochastic variational
    inference (Hoffman, Blei, Wang & Paisley 2013). It converges for 1/2 < kappa <= 1. kappa = 0
    with all rows in one batch is coordinate ascent.

    With `every` = m, theta moves at every m-th step only. Rows of lam kept by a mode move at every
    step, and theta then follows rows that are at their optimum: coordinate ascent is monotone only
    in turns.
    """

    kappa: float  # forgetting rate; 0: the whole way
    tau: float  # delay: larger slows the first moves
    every: int  # steps from one move of theta to the next
    needs: ClassVar[tuple[type, ...]] = (Conjugate,)

    def __post_init__(self) -> None:
        if self.kappa != 0 and not 0.5 < self.kappa <= 1:
            raise ValueError(
                f"kappa must be above 0.5 and at most 1, or 0 for whole steps; got {self.kappa}. "
                "Try kappa=0.7."
            )
        if self.tau < 0:
            raise ValueError(f"tau must be 0 or more; got {self.tau}.")
        if self.every < 1:
            raise ValueError(f"every must be 1 or more; got {self.every}.")

    def bind(self, family: Family) -> optax.GradientTransformationExtraArgs:
        """Return the transformation of descent gradients, as optax passes them, into updates."""
        del family
        return optax.GradientTransformationExtraArgs(self._init, self._update)

    def _init(self, params: optax.Params) -> RobbinsMonroState:
        del params
        return RobbinsMonroState(jnp.zeros((), jnp.int32))

    def _update(
        self,
        gradients: optax.Updates,
        state: RobbinsMonroState,
        params: optax.Params | None = None,
        *,
        num_data: int,
        batch_size: int,
        **others: Any,
    ) -> tuple[optax.Updates, RobbinsMonroState]:
        del params, others
        if self.kappa == 0 and batch_size < num_data:
            raise ConfigError(
                "whole steps on theta forget all rows but those of the last batch. "
                f"Try train.batch_size=null (all {num_data} rows) or optimizer.theta=robbins_monro."
            )
        count = state.taken + 1
        moves = count // self.every
        rate = jnp.where(count % self.every == 0, (moves + self.tau) ** -self.kappa, 0)
        updates = jax.tree.map(lambda g: (-num_data * rate).astype(g.dtype) * g, gradients)
        return updates, RobbinsMonroState(count)
