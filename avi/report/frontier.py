"""The amortization frontier: nats recovered by a few local steps, drawn and put into words."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from avi.report import render as page
from avi.report.files import RunFiles, Value, lookup, number
from avi.report.style import GREEN, MUTED, SPLIT_COLOURS, blank, plain, style, svg
from avi.report.wording import MISSING, count, milliseconds, plus_minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Z = 1.96  # of a 95 % interval
TOLD = 0.9  # share of the gap whose price is told in words


class Step(NamedTuple):
    """One point of the frontier."""

    steps: float  # NaN: until every row is certified
    gain: Value
    milliseconds: float


def frontiers(run: RunFiles) -> dict[str, list[Step]]:
    """Return the frontier of each split, empty where there is none."""
    found = lookup(run.gap, "frontier")
    splits = found if isinstance(found, Mapping) else {}
    return {str(split): _steps(curve) for split, curve in splits.items() if _steps(curve)}


def _steps(curve: Any) -> list[Step]:
    entries = [entry for entry in curve if isinstance(entry, Mapping)] if curve else []
    steps = [
        Step(
            number(entry, "steps"),
            Value(number(entry, "mean"), number(entry, "se")),
            number(entry, "milliseconds"),
        )
        for entry in entries
    ]
    return [step for step in steps if step.gain.known]


def section(run: RunFiles) -> str:
    """Return the frontier with its figure, what it costs, and the side on which it errs."""
    curves = frontiers(run)
    if not curves:
        return ""
    caption = (
        "Every point (bars: 95 % intervals) errs to neither side for this optimiser: both ends "
        "share fresh draws that chose nothing. For the best optimiser it is a lower bound. "
        "Milliseconds are those of this machine, for one observation among the lanes of the "
        "report. The dashed line is the gap itself: every observation refined until it is "
        "certified."
    )
    return "".join(
        [
            "<h3>What a few refinement steps would buy</h3>",
            page.paragraph(" ".join(_price(split, curve) for split, curve in curves.items())),
            page.figure(svg(draw(curves), "Amortization frontier"), caption),
            page.folded("The frontier in numbers", _table(curves)),
        ]
    )


def _price(split: str, curve: Sequence[Step]) -> str:
    end = curve[-1].gain.mean
    enough = [step for step in curve if math.isfinite(step.steps) and step.gain.mean > TOLD * end]
    if end <= 0 or not enough:
        return ""
    first = enough[0]
    return (
        f"{split.capitalize()}: {count(first.steps)} steps on each observation recover "
        f"{first.gain.mean / end:.0%} of the gap, for {milliseconds(first.milliseconds)} each."
    )


def _table(curves: Mapping[str, Sequence[Step]]) -> str:
    longest = max(curves.values(), key=len)
    rows = []
    for place, step in enumerate(longest):
        name = count(step.steps) if math.isfinite(step.steps) else "until certified"
        cells = [curve[place] if place < len(curve) else None for curve in curves.values()]
        gains = [plus_minus(cell.gain) if cell else MISSING for cell in cells]
        times = [milliseconds(cell.milliseconds) if cell else MISSING for cell in cells]
        rows.append([name, *gains, *times])
    header = [
        "steps",
        *(f"{split}: nats recovered" for split in curves),
        *(f"{split}: per observation" for split in curves),
    ]
    return page.table(header, rows, ["", *["number"] * (2 * len(curves))])


def draw(curves: Mapping[str, Sequence[Step]]) -> "Figure":
    """Draw the nats recovered against steps and against milliseconds per observation."""
    with style():
        figure = blank(8.6, 3.1)
        left, right = figure.subplots(1, 2, sharey=True)
        left.set_xscale("symlog", linthresh=1, linscale=0.5)
        right.set_xscale("log")  # before the curves: their first step, at no cost, is left out
        for split, curve in curves.items():
            colour = SPLIT_COLOURS.get(split, GREEN)
            _draw_curve(left, curve, [step.steps for step in curve], colour, split)
            _draw_curve(right, curve, [step.milliseconds for step in curve], colour, split)
        left.set_title("Nats recovered from the mode's λ")
        ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500]
        left.set_xticks(ticks, [str(tick) for tick in ticks])
        left.minorticks_off()
        left.set_xlabel("refinement steps")
        right.set_xlabel("milliseconds per observation")
        left.set_ylim(bottom=min(0.0, left.get_ylim()[0]))
        left.plot([], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="all of the gap")
        left.legend(loc="lower right", fontsize=8.5)
    return figure


def _draw_curve(
    axes: "Axes", curve: Sequence[Step], horizontal: Sequence[float], colour: str, split: str
) -> None:
    means = np.array([step.gain.mean for step in curve])
    errors = Z * np.nan_to_num([step.gain.standard_error for step in curve])
    at = np.array(horizontal, float)
    seen = np.isfinite(at) & ((at > 0) | (axes.get_xscale() != "log"))
    axes.errorbar(
        at[seen], means[seen], errors[seen], color=colour, label=plain(split), marker="o",
        markersize=4, linewidth=1.3, elinewidth=1,
    )  # fmt: skip
    if not math.isfinite(curve[-1].steps):
        axes.axhline(means[-1], color=colour, linewidth=1, linestyle=(0, (4, 3)))
