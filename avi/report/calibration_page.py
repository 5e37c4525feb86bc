"""What the calibration section of a page is made of, and the table of the terminal."""

import math
import textwrap
from typing import Any, NamedTuple

from avi.report.figures import calibration as drawings
from avi.report.figures.style import svg
from avi.report.wording import probability
from avi.results.calibration import Calibration, OfQ, Quantity

WIDTH = 80  # of the terminal's table
LISTED = 12  # coordinates of z in it


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


def lines(found: Calibration) -> list[str]:
    """Return the table of the terminal, within `WIDTH` columns."""
    shares = levels(found)
    names = ["own q"] + (["q at lam*"] if found.best is not None else [])
    heads = _side("p", "", [f"{100 * share:.3g}%" for share in shares])
    listed, left = _listed(found)
    shown = [
        f"{found.n:g} rows of the model, {found.num_draws:g} draws of q for each",
        _line("", [name.ljust(len(heads)) for name in names]),
        _line("", [heads for _ in names]),
        *(_line(name, [_cells(found, one) for one in under]) for name, under in listed),
    ]
    if left:
        shown.append(f"and {left} more, whose p is larger: calibration.json has all")
    if math.isfinite(found.certified):
        shown.append(f"lam* converged for {found.certified:g} of {found.n:g} rows")
    rate = f"{found.band_rate:.3g}"
    shown.append(f"* ranks outside their band, which uniform ones leave with probability {rate}")
    if shares:
        shown.append("%: rows whose true z the central interval of q holds")
    said = [*found.remarks, f"{found.verdict}."]
    return [*shown, *(line for words in said for line in textwrap.wrap(words, WIDTH))]


def _line(name: str, cells: list[str]) -> str:
    return (f"{name:13}" + "   ".join(cells)).rstrip()


def _side(p: str, said: str, shares: list[str]) -> str:
    return f"{p:9}{said:12}" + "".join(f"{share:>5}" for share in shares)


def _cells(found: Calibration, one: Quantity | None) -> str:
    if one is None:
        return ""
    outside = one.p <= found.failure_rate
    shares = [f"{100 * each.share:.0f}" for each in one.coverage] or [""] * len(levels(found))
    p = f"{probability(one.p)}{'*' if outside else ''}"
    return _side(p, one.fault(found.n) if outside else "", shares)


def _listed(found: Calibration) -> tuple[list[tuple[str, list[Quantity | None]]], int]:
    """Return the rows of the table, the coordinates of smallest p where they are many."""
    every = rows(found)

    def smallest(row: tuple[str, list[Quantity | None]]) -> float:
        return min((one.p for one in row[1] if one and math.isfinite(one.p)), default=1.0)

    latents = [row for row in every if (one := row[1][0]) and not one.of_all]
    kept = sorted(latents, key=smallest)[:LISTED]
    listed = [row for row in every if row in kept or row not in latents]
    return listed, len(every) - len(listed)
