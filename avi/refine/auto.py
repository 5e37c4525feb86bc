"""The local optimiser that fits the model: its own coordinate updates, or gradient ascent."""

from dataclasses import dataclass
from typing import Any, ClassVar

from avi.abilities import Coordinate
from avi.refine.ascent import Ascent, AscentState
from avi.refine.coordinate import CoordinateAscent, CoordinateState
from avi.types import Lam, Local, PRNGKey, Refine

State = AscentState | CoordinateState


@dataclass(frozen=True)
class Auto:
    """Coordinate ascent where the model has coordinate updates, else K steps of `optimizer`.

    Coordinate ascent ends at the fixed point, after K updates at the latest.
    """

    steps: int  # K
    tolerance: float  # of coordinate ascent: largest move of E[z] that counts as converged
    optimizer: Any  # of gradient ascent
    average: bool  # the second half of the iterates of gradient ascent
    needs: ClassVar[tuple[type, ...]] = ()

    def __post_init__(self) -> None:
        # Both refuse what they cannot do, whichever it will be.
        CoordinateAscent(self.steps, self.tolerance)
        Ascent(self.optimizer, self.steps, self.average)

    def chosen(self, local: Local) -> Refine:
        """Return the one that fits the model."""
        if isinstance(local.target.model, Coordinate):
            return CoordinateAscent(self.steps, self.tolerance)
        return Ascent(self.optimizer, self.steps, self.average)

    def init(self, local: Local, lam: Lam) -> State:
        """Return the state before the first step."""
        state: State = self.chosen(local).init(local, lam)
        return state

    def step(self, local: Local, state: State, key: PRNGKey) -> State:
        """Return the state after one step."""
        after: State = self.chosen(local).step(local, state, key)
        return after

    def estimate(self, state: State) -> Lam:
        """Return where the steps so far lead."""
        averages = self.average and isinstance(state, AscentState)
        return state.average if averages else state.lam  # type: ignore[union-attr]

    def __call__(self, local: Local, lam: Lam, key: PRNGKey) -> Lam:
        """Return lam after all steps."""
        return self.chosen(local)(local, lam, key)
