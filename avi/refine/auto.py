"""The local optimiser that fits the model: its own coordinate updates, or gradient ascent."""

from dataclasses import dataclass
from typing import Any

from avi.abilities import first_that_fits
from avi.refine.ascent import Ascent
from avi.refine.coordinate import CoordinateAscent
from avi.types import Family, Model, Refine


@dataclass(frozen=True)
class Auto:
    """Stands for coordinate ascent where the model has coordinate updates, else for K steps.

    Coordinate ascent ends at the fixed point, after K updates at the latest.
    """

    steps: int  # K
    tolerance: float  # of coordinate ascent: largest move of E[z] that counts as converged
    optimizer: Any  # of gradient ascent
    average: bool  # the second half of the iterates of gradient ascent

    def __post_init__(self) -> None:
        self._candidates()  # both refuse what they cannot do, whichever it will be

    def choose(self, model: Model, family: Family) -> Refine:
        """Return the one that fits."""
        chosen: Refine = first_that_fits(self._candidates(), model, family)
        return chosen

    def _candidates(self) -> tuple[Refine, Refine]:
        coordinate = CoordinateAscent(self.steps, self.tolerance)
        return coordinate, Ascent(self.optimizer, self.steps, self.average)
