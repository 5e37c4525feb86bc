"""Gradient ascent in lam by any optax optimiser, with the average of the last iterates."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from avi.phi import bind
from avi.types import Lam, Local, PRNGKey


class AscentState(NamedTuple):
    """Where the ascent is: the iterate, its optimiser, and the running average."""

    lam: Lam
    opt_state: optax.OptState
    average: Lam
    taken: Int[Array, ""]  # steps taken


@dataclass(frozen=True)
class Ascent:
    """K steps of `optimizer` on one datapoint's bound, a fresh draw at each.

    With `average`, the result is the mean of the second half of the iterates (Polyak & Juditsky
    1992), which removes the noise floor of a constant rate; with a decaying rate it gains nothing.
    """

    optimizer: Any  # an optax transformation, or one that binds to the family
    steps: int  # K
    average: bool
    needs: ClassVar[tuple[type, ...]] = ()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more; got {self.steps}.")

    def init(self, local: Local, lam: Lam) -> AscentState:
        """Return the state before the first step."""
        opt_state = bind(self.optimizer, local.family).init(lam)
        return AscentState(lam, opt_state, lam, jnp.zeros((), jnp.int32))

    def step(self, local: Local, state: AscentState, key: PRNGKey) -> AscentState:
        """Return the state after one step."""
        return self._step(local, state, key, careful=False)

    def _step(
        self, local: Local, state: AscentState, key: PRNGKey, *, careful: bool
    ) -> AscentState:
        def loss(lam: Lam) -> tuple[Array, Array]:
            bound = local.bound(lam, key)
            return -bound.surrogate, bound.value

        gradient, value = jax.grad(loss, has_aux=True)(state.lam)
        optimizer = bind(self.optimizer, local.family)
        update, opt_state = optimizer.update(gradient, state.opt_state, state.lam)
        lam = optax.apply_updates(state.lam, update)
        if careful:
            # On the same draw. What is not a number is no rise.
            lam = jnp.where(loss(lam)[1] >= value, lam, state.lam)
        # Every K steps the average starts anew with the second half.
        weight = state.taken % self.steps - self.steps // 2 + 1
        average = jnp.where(
            weight > 1, state.average + (lam - state.average) / jnp.maximum(weight, 1), lam
        )
        return AscentState(lam, opt_state, average, state.taken + 1)

    def estimate(self, state: AscentState) -> Lam:
        """Return the average of the second half, or the last iterate."""
        return state.average if self.average else state.lam

    def __call__(self, local: Local, lam: Lam, key: PRNGKey) -> Lam:
        """Return lam after K steps; one that would lower the bound of its draw is not taken."""

        def body(state: AscentState, number: Array) -> tuple[AscentState, None]:
            key_of_step = jax.random.fold_in(key, number)
            return self._step(local, state, key_of_step, careful=True), None

        state, _ = jax.lax.scan(body, self.init(local, lam), jnp.arange(self.steps))
        return self.estimate(state)
