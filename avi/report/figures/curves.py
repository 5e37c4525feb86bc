"""The bounds of a run against epochs and seconds."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from avi.report.figures.style import (
    PAPER,
    SPLIT_COLOURS,
    blank,
    finite,
    say_empty,
    style,
)
from avi.report.wording import plus_minus, signed
from avi.results.metrics import Axis, Curve
from avi.settings import SERIES as CURVES
from avi.settings import Series as Name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES: dict[Axis, str] = {
    "epoch": "epochs",
    "seconds": "seconds",
    "gradient_evaluations": "gradient evaluations",
    "documents": "documents seen",
}


def elbo_curves(
    curves: Mapping[Name, Curve],
    bound_name: str = "ELBO",
    axis: Axis = "epoch",
    searched: Collection[str] = (),
) -> "Figure":
    """Draw the bound against `axis` and, smaller, against seconds.

    `searched` names the splits whose rows are not in a table and are searched anew.
    """
    has_seconds = any(np.isfinite(curve.axis("seconds")).any() for curve in curves.values())
    with style():
        figure = blank(8.6, 3.5)
        ratios = {"width_ratios": [2.4, 1]} if has_seconds else {}
        panels = figure.subplots(
            1, 1 + has_seconds, sharey=True, squeeze=False, gridspec_kw=ratios
        )[0]
        axes_names: tuple[Axis, ...] = (axis, "seconds")
        for axes, name in zip(panels, axes_names, strict=False):
            for split in CURVES:
                label = f"{split}, searched anew" if split in searched else split
                _draw_split(axes, split, curves.get(split, Curve()), name, label)
            axes.set_xlabel(AXES[name])
            axes.margins(x=0.03)
        start = focus(panels[0], [curve for curve in curves.values() if curve.points])
        panels[0].set_title(f"{bound_name}, nats per datapoint (higher is better){start}")
        if panels[0].get_legend_handles_labels()[0]:
            panels[0].legend(loc="lower right", fontsize=8.5)
        else:
            say_empty(panels[0], "no measurements yet")
    return figure


def _draw_split(axes: "Axes", split: str, curve: Curve, axis: Axis, label: str) -> None:
    horizontal, means = curve.axis(axis), curve.means
    seen = np.isfinite(horizontal) & np.isfinite(means)
    if curve.last is None or not seen.any():
        return
    colour = SPLIT_COLOURS[split]
    if split == "batches":
        _draw_noisy(axes, horizontal[seen], means[seen], colour, "batches in training")
        return
    label = f"{label}  {plus_minus(curve.last.bound)}"
    errors = np.nan_to_num(curve.standard_errors)
    axes.errorbar(
        horizontal[seen],
        means[seen],
        errors[seen],
        color=colour,
        label=label,
        marker={"train": "s", "valid": "o", "test": "D"}[split],
        markersize=4.5 if split == "valid" else 5.5,
        markeredgecolor=PAPER,
        markeredgewidth=0.7,
        linewidth=0.9,
        elinewidth=1.2,
        zorder=3 if split == "valid" else 4,
    )


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return the centred running mean over a twentieth of the points, shorter at both ends."""
    half = max(len(values) // 40, 0)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    reach = np.minimum(np.minimum(at, len(values) - 1 - at), half)
    return (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)


def _draw_noisy(
    axes: "Axes", horizontal: np.ndarray, means: np.ndarray, colour: str, label: str
) -> None:
    marker = "o" if len(means) == 1 else ""
    axes.plot(horizontal, means, color=colour, linewidth=0.7, alpha=0.45)
    axes.plot(horizontal, smoothed(means), marker=marker, color=colour, label=label, linewidth=1.5)


def focus(axes: "Axes", curves: Sequence[Curve]) -> str:
    """Aim the axis at where the run went; say so when where it began is outside."""
    if not curves:
        return ""
    ends = [curve.axis("epoch")[-1] for curve in curves]
    late = [curve.means[curve.axis("epoch") >= 0.15 * max(ends)] for curve in curves]
    everything = finite(np.concatenate([curve.means for curve in curves]))
    shown = finite(np.concatenate(late))
    if not shown.size:
        return ""
    spread = max(float(np.ptp(shown)), 1e-3)
    bottom, top = shown.min() - 0.12 * spread, shown.max() + 0.1 * spread
    if everything.min() >= bottom - 0.5 * spread:
        return ""
    axes.set_ylim(bottom, top)
    return signed(f" — begins at {everything.min():.0f}, below the axis")
