"""Several runs in one figure: their curves, and what each of them loses."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from avi.report.figures.curves import AXES, focus
from avi.report.figures.gap import Z
from avi.report.figures.style import (
    BLUE,
    INK,
    MUTED,
    SERIES,
    blank,
    finite,
    plain,
    say_empty,
    style,
)
from avi.report.wording import plus_minus
from avi.results.metrics import Axis, Curve
from avi.results.record import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COMPARED: tuple[Axis, ...] = ("epoch", "seconds", "gradient_evaluations")
LETTERS = 40  # of a label that stand side by side
_APART = 10.0  # times as far: then the axis is logarithmic
Gaps = Mapping[str, Sequence[Value]]  # of every run of each configuration


class Series(NamedTuple):
    """One line of a comparison; runs of one configuration share a label."""

    label: str
    curve: Curve


def overlaid(series: Sequence[Series], what: str) -> "Figure":
    """Overlay runs against epochs, seconds and gradient evaluations, one colour per label."""
    labels = list(dict.fromkeys(line.label for line in series))
    runs = Counter(line.label for line in series)
    with style():
        figure = blank(10.5, 4.0 + 0.18 * ((len(labels) + 1) // 2))
        panels = figure.subplots(1, 3, sharey=True)
        for axes, axis in zip(panels, _COMPARED, strict=True):
            logarithmic = axis == "gradient_evaluations" or _far_apart(series, axis)
            for line in series:
                colour, alone = labels.index(line.label), runs[line.label] == 1
                _draw_run(axes, line, axis, colour, alone=alone, positive=logarithmic)
            axes.set_xlabel(AXES[axis] + (" (log)" if logarithmic else ""))
            axes.margins(x=0.03)
            if logarithmic:
                axes.set_xscale("log")
                axes.minorticks_off()
        start = focus(panels[0], [line.curve for line in series if line.curve.points])
        panels[0].set_title(f"{what}, nats per datapoint (higher is better){start}")
        handles = dict(zip(*_handles(panels[0]), strict=True))
        if handles:
            names = [name + _beside(name, series) for name in handles]
            figure.legend(handles.values(), names, loc="outside lower left", ncols=2, fontsize=8.5)
        else:
            say_empty(panels[0], "no measurements yet")
    return figure


def gaps(found: Gaps) -> "Figure":
    """Draw what each configuration loses: a bar for the mean, each run with its 95 % interval."""
    with style():
        figure = blank(8.6, 1.0 + 0.34 * len(found))
        axes = figure.subplots()
        for place, values in enumerate(found.values()):
            means = np.array([value.mean for value in values])
            beside = 0.4 * (np.arange(len(values)) - (len(values) - 1) / 2) / len(values)
            axes.barh(place, means.mean(), 0.62, color=BLUE, alpha=0.3)
            axes.errorbar(
                means, place + beside, xerr=[Z * error for error in _errors(values)], fmt="o",
                color=BLUE, markersize=3.5, elinewidth=1,
            )  # fmt: skip
        axes.set_yticks(range(len(found)), [_folded(label) for label in found])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("gap, nats per datapoint (points: runs, with their 95 % intervals)")
    return figure


def gaps_along(found: Gaps, values: Mapping[str, float], setting: str) -> "Figure":
    """Draw what runs lose against the one setting in which they differ, with a band over seeds."""
    labels = sorted(found, key=lambda label: values[label])
    at = np.array([values[label] for label in labels])
    means = np.array([np.mean([value.mean for value in found[label]]) for label in labels])
    deviations = np.array(
        [np.std([one.mean for one in found[label]], ddof=1) if len(found[label]) > 1 else 0.0
         for label in labels]
    )  # fmt: skip
    with style():
        figure = blank(8.6, 3.2)
        axes = figure.subplots()
        axes.plot(at, means, color=BLUE)
        if deviations.any():
            low, high = means - deviations, means + deviations
            axes.fill_between(at, low, high, color=BLUE, alpha=0.15, linewidth=0)
        for place, label in zip(at, labels, strict=True):
            runs = found[label]
            axes.errorbar(
                [place] * len(runs), [value.mean for value in runs],
                yerr=[Z * error for error in _errors(runs)], fmt="o", color=BLUE, markersize=3.5,
                elinewidth=1,
            )  # fmt: skip
        if at.min() > 0 and at.max() >= _APART * at.min():
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks(at, [f"{value:g}" for value in at])
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_xlabel(plain(setting))
        over = ", band: ± one standard deviation over runs" if deviations.any() else ""
        axes.set_title(f"Gap, nats per datapoint (points: runs, 95 % intervals{over})")
    return figure


def _folded(label: str) -> str:
    """Return a label on one line or two, cut where it is longer."""
    lines = textwrap.wrap(label, LETTERS) or [""]
    if len(lines) > 2:
        lines = [lines[0], f"{lines[1][: LETTERS - 1]}…"]
    return "\n".join(map(plain, lines))


def _errors(values: Sequence[Value]) -> np.ndarray:
    return np.nan_to_num(np.array([value.se for value in values]))


def _beside(label: str, series: Sequence[Series]) -> str:
    """Return what stands beside a label of the legend: how it ended, or how many runs it has."""
    runs = [line.curve for line in series if plain(line.label) == label]
    if len(runs) > 1:
        return f"  ({len(runs)} runs)"
    last = runs[0].last
    return f"  {plus_minus(last.bound)}" if last is not None else ""


def _far_apart(series: Sequence[Series], axis: Axis) -> bool:
    """Whether some runs end so much earlier than others that a linear axis would hide them."""
    ends = [line.curve.axis(axis) for line in series if line.curve.points]
    last = np.array([finite(one).max(initial=0.0) for one in ends])
    return bool(last.size and last.min() > 0 and last.max() >= _APART * last.min())


def _handles(axes: "Axes") -> tuple[list[str], list[Any]]:
    handles, labels = axes.get_legend_handles_labels()
    return labels, handles


def _draw_run(
    axes: "Axes", line: Series, axis: Axis, index: int, *, alone: bool, positive: bool
) -> None:
    horizontal, means = line.curve.axis(axis), line.curve.means
    seen = np.isfinite(horizontal) & np.isfinite(means)
    if positive:
        seen &= horizontal > 0
    if not seen.any():
        return
    colour = SERIES[index % len(SERIES)]
    axes.plot(
        horizontal[seen],
        means[seen],
        color=colour,
        linestyle=("-", "--", ":")[index // len(SERIES) % 3],
        linewidth=1.5 if alone else 0.9,
        marker="o" if seen.sum() <= 12 else "",
        markersize=3,
        label=plain(line.label),
    )
    errors = np.nan_to_num(line.curve.standard_errors)[seen]
    if alone and errors.any():
        low, high = means[seen] - errors, means[seen] + errors
        axes.fill_between(horizontal[seen], low, high, color=colour, alpha=0.15, linewidth=0)
