"""What the calibration section of a page is made of."""

from typing import Any, NamedTuple

from avi.report.figures import calibration as drawings
from avi.report.figures.style import svg
from avi.results.calibration import Calibration, OfQ, Quantity


class Side(NamedTuple):
    """One q: what it is called, and what was found."""

    name: str
    q: OfQ


class CalibrationView:
    """What templates/calibration.html asks for."""

    def __init__(self, found: Calibration) -> None:
        """Look at a calibration; the figure is drawn when it is asked for."""
        self.found = found
        self.sides = [Side("The mode's own q", found.own)]
        if found.best is not None:
            self.sides.append(Side("q at λ*", found.best))

    @property
    def levels(self) -> list[float]:
        """The levels of the central intervals."""
        return levels(self.found)

    @property
    def expected(self) -> float:
        """How many quantities of one q leave the band where nothing is wrong."""
        return len(self.found.own.quantities) * self.found.band_rate

    @property
    def figure(self) -> Any:
        """The ECDFs of all ranks in their band."""
        drawing = drawings.differences(self.found, self.sides)
        return svg(drawing, "Ranks of the true z, minus uniform ones")

    @property
    def rows(self) -> list[tuple[str, list[Quantity | None]]]:
        """Every quantity under each q."""
        return rows(self.found)

    @staticmethod
    def covered(one: Quantity, place: int) -> str:
        """Return how many true z an interval holds, and the interval of that share."""
        if place >= len(one.coverage):
            return ""
        found = one.coverage[place]
        share = f"{100 * found.share:.0f} %"
        if found.interval is None:
            return share
        low, high = found.interval
        return f"{share} ({100 * low:.0f}–{100 * high:.0f})"


def levels(found: Calibration) -> list[float]:
    """Return the levels of the central intervals, none where z has no order."""
    covered = (one.coverage for one in found.own.quantities if one.coverage)
    return [one.nominal for one in next(covered, ())]


def rows(found: Calibration) -> list[tuple[str, list[Quantity | None]]]:
    """Return the name of every quantity, and the quantity under each q."""
    under = [q.quantities for q in (found.own, found.best) if q is not None]
    known = [{one.name: one for one in quantities} for quantities in under]
    return [(one.name, [each.get(one.name) for each in known]) for one in found.own.quantities]
