"""Ranks of the true z: how far their distribution is from the uniform one, in its band."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avi.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    MUTED,
    VERMILLION,
    blank,
    plain,
    style,
)
from avi.results.calibration import Calibration, Quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 1.15  # of the axis beyond the largest difference
NAMED = 3  # coordinates outside the band that have a label of their own
COLOURS = {"log_joint": BLUE, "joint": GREEN}


def differences(found: Calibration, sides: Sequence[Any]) -> "Figure":
    """Draw the ECDF of each quantity's ranks minus the uniform one, a panel for each q.

    Args:
        found: the calibration, with the band.
        sides: name and quantities of each q.
    """
    with style():
        figure = blank(8.6, 3.3)
        panels = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
        for axes, (name, q) in zip(panels, sides, strict=True):
            axes.set_title(name)
            _draw_band(axes, found)
            for quantity in q.quantities:
                _draw(axes, quantity, found.failure_rate)
            _name(axes, q.quantities, found.failure_rate)
            axes.set_xlabel("rank of the true value, as a share")
            axes.set_xlim(0, 1)
        panels[0].set_ylabel("ECDF − uniform")
        largest = max(abs(limit) for limit in panels[0].get_ylim())
        panels[0].set_ylim(-MARGIN * largest, MARGIN * largest)
    return figure


def _draw_band(axes: "Axes", found: Calibration) -> None:
    low, high = (np.array([0.0, *ends, 0.0]) for ends in (found.band_low, found.band_high))
    at = np.arange(len(low)) / max(1, len(low) - 1)
    if len(low) == len(high):
        axes.fill_between(at, low, high, color=GREY, alpha=0.22, linewidth=0)
    axes.axhline(0, color=MUTED, linewidth=1)


def difference(quantity: Quantity) -> tuple[np.ndarray, np.ndarray]:
    """Return where the ECDF is looked at, and by how much it is above the uniform one."""
    counts = np.nan_to_num(np.array(quantity.counts, float))
    at = np.arange(len(counts) + 1) / max(1, len(counts))
    reached = np.concatenate([[0.0], np.cumsum(counts)]) / max(1.0, counts.sum())
    return at, reached - at


def _draw(axes: "Axes", quantity: Quantity, failure_rate: float) -> None:
    colour = COLOURS.get(quantity.kind) or _colour(quantity, failure_rate)
    thick, layer = (1.8, 3) if quantity.of_all else (0.9, 2)
    axes.plot(*difference(quantity), color=colour, linewidth=thick, zorder=layer)


def _colour(quantity: Quantity, failure_rate: float) -> str:
    return VERMILLION if quantity.p <= failure_rate else GREY


def _name(axes: "Axes", quantities: Sequence[Quantity], failure_rate: float) -> None:
    """Put a legend of what is there."""
    latents = [one for one in quantities if not one.of_all]
    outside = [one for one in latents if one.p <= failure_rate]
    some = ", ".join(one.name for one in sorted(outside, key=lambda one: one.p)[:NAMED])
    more = f" and {len(outside) - NAMED} more" if len(outside) > NAMED else ""
    entries = [(COLOURS[one.kind], one.name) for one in quantities if one.kind in COLOURS]
    entries += [(VERMILLION, f"{some}{more}: outside")] if outside else []
    entries += [(GREY, "z within the band")] if len(outside) < len(latents) else []
    for colour, label in entries:
        axes.plot([], color=colour, label=plain(label))
    axes.legend(loc="upper right", fontsize=8, ncols=2)
