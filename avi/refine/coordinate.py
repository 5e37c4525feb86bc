"""Coordinate ascent: the model's own updates of lam, to a fixed point."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from avi.abilities import Coordinate
from avi.types import Lam, Local, PRNGKey


class CoordinateState(NamedTuple):
    """Where the ascent is."""

    lam: Lam
    taken: Int[Array, ""]  # updates made
    change: Array  # of E[z] in the last one


@dataclass(frozen=True)
class CoordinateAscent:
    """Coordinate updates until E[z] moves by less than `tolerance`, at most K.

    Each update is exact given the rest and never lowers the bound. Rows side by side run as long as
    the slowest of them; a row that has converged stays where it is.
    """

    steps: int  # K
    tolerance: float  # largest move of a component of E[z] that counts as converged; 0: all K
    needs: ClassVar[tuple[type, ...]] = (Coordinate,)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more; got {self.steps}.")
        if self.tolerance < 0:
            raise ValueError(f"tolerance must be 0 or more; got {self.tolerance}.")

    def init(self, local: Local, lam: Lam) -> CoordinateState:
        """Return the state before the first update."""
        del local
        return CoordinateState(lam, jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, lam.dtype))

    def step(self, local: Local, state: CoordinateState, key: PRNGKey) -> CoordinateState:
        """Return the state after one update; the key is not used."""
        del key
        return self._after(self._update(local)(state.lam), local, state)

    def estimate(self, state: CoordinateState) -> Lam:
        """Return the last iterate."""
        return state.lam

    def __call__(self, local: Local, lam: Lam, key: PRNGKey) -> Lam:
        """Return lam at the fixed point, or after K updates; the key is not used."""
        del key
        update = self._update(local)

        def unfinished(state: CoordinateState) -> Array:
            return (state.taken < self.steps) & (state.change > self.tolerance)

        def body(state: CoordinateState) -> CoordinateState:
            return self._after(update(state.lam), local, state)

        return jax.lax.while_loop(unfinished, body, self.init(local, lam)).lam

    def _update(self, local: Local) -> Any:
        model, theta, x = local.target
        return model.coordinate_update(theta, x, local.family)  # type: ignore[attr-defined]

    def _after(self, lam: Lam, local: Local, state: CoordinateState) -> CoordinateState:
        moved = jnp.abs(local.family.mean(lam) - local.family.mean(state.lam)).max()
        return CoordinateState(lam, state.taken + 1, moved)
