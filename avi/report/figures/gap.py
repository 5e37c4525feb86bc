"""Where the nats go: the decomposition, the gaps of all points, and the amortization frontier."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avi.report.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    PAPER,
    SPLIT_COLOURS,
    VERMILLION,
    blank,
    finite,
    plain,
    say_empty,
    style,
)
from avi.report.wording import count, plus_minus, side, signed
from avi.results.gap import FrontierStep, Mean, SplitSummary
from avi.results.ladder import Rung
from avi.settings import Split

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Z = 1.96  # of a 95 % interval
PointGaps = Mapping[Split, np.ndarray]  # the gap of each point


def gap_figure(splits: Mapping[Split, SplitSummary], points: PointGaps, name: str) -> "Figure":
    """Draw the decomposition above the distribution of the per-point gaps: gap/gap.png."""
    with style():
        figure = blank(8.6, 2.0 + 0.8 * max(len(splits), 1) + 2.2)
        top, bottom = figure.subplots(
            2, 1, gridspec_kw={"height_ratios": [0.9 + 0.8 * max(len(splits), 1), 2.2]}
        )
        draw_decomposition(top, splits, name)
        draw_histogram(bottom, points, name)
    return figure


def decomposition(splits: Mapping[Split, SplitSummary], name: str) -> "Figure":
    """Draw the stacked decomposition alone."""
    with style():
        figure = blank(8.6, 1.2 + 0.8 * max(len(splits), 1))
        draw_decomposition(figure.subplots(), splits, name)
    return figure


def histogram(points: PointGaps, name: str) -> "Figure":
    """Draw the distribution of the per-point gaps alone."""
    with style():
        figure = blank(8.6, 2.5)
        draw_histogram(figure.subplots(), points, name)
    return figure


def draw_decomposition(axes: "Axes", splits: Mapping[Split, SplitSummary], name: str) -> None:
    """Stack, per split, the gap and the approximation gap on the bound at the mode's λ.

    The axis counts from that bound, so that the paired standard errors of the differences, much
    smaller than those of the bounds, can be seen.
    """
    axes.set_title("What is lost, nats per datapoint")
    if not splits:
        say_empty(axes, "no gap report yet")
        return
    ends = [_draw_stack(axes, height, parts) for height, parts in enumerate(splits.values())]
    reach = max(*ends, 1e-3)
    for height, (parts, end) in enumerate(zip(splits.values(), ends, strict=True)):
        _label_stack(axes, height, parts, end, reach)
    axes.axvline(0, color=MUTED, linewidth=1)
    _name_parts(axes, splits, name)
    axes.set_xlim(-0.02 * reach, 1.4 * reach)
    axes.set_ylim(len(splits) - 0.45, -0.6)
    axes.set_yticks(range(len(splits)), [_split_label(*item) for item in splits.items()])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    intervals = any(loss.interval for parts in splits.values() for loss in _losses(parts))
    bars = "95 % intervals" if intervals else "± one paired standard error"
    axes.set_xlabel(f"nats above the bound at the mode's λ (bars: {bars})")


def _name_parts(axes: "Axes", splits: Mapping[Split, SplitSummary], name: str) -> None:
    from matplotlib.patches import Patch

    parts = [Patch(color=VERMILLION, label=name)]
    known = [item for item in splits.values() if item.approximation_gap.known]
    if known:
        hatch = _hatch(known[0])
        label = "approximation gap" + (", up to a bound on the evidence" if hatch else "")
        parts.append(Patch(facecolor=BLUE, edgecolor=PAPER, lw=0, hatch=hatch, label=label))
    axes.legend(
        handles=parts, loc="lower right", bbox_to_anchor=(1, 0.99), ncols=2, borderpad=0.3,
        fontsize=8.5, handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip


def _hatch(parts: SplitSummary) -> str | None:
    return None if parts.evidence.kind in ("exact", "") else "////"


def _split_label(split: str, parts: SplitSummary) -> str:
    return f"{plain(split)}, n = {count(parts.n)}\nELBO {plus_minus(parts.bound)}"


def _width(value: Mean) -> float:
    return max(value.mean, 0.0) if value.known else 0.0


def _draw_stack(axes: "Axes", height: int, parts: SplitSummary) -> float:
    gap, rest = _width(parts.amortization_gap), _width(parts.approximation_gap)
    thickness = 0.34
    axes.barh(height, gap, thickness, color=VERMILLION)
    axes.barh(
        height, rest, thickness, left=gap, color=BLUE, edgecolor=PAPER, linewidth=0,
        hatch=_hatch(parts),
    )  # fmt: skip
    reach = gap + rest
    for end, loss in zip((gap, gap + rest), _losses(parts), strict=True):
        below, above = _whiskers(loss)
        axes.errorbar(end, height, xerr=[[below], [above]], color=INK, capsize=2.5, lw=1.1)
        reach = max(reach, end + above)
    return reach


def _losses(parts: SplitSummary) -> tuple[Mean, Mean]:
    return parts.amortization_gap, parts.approximation_gap


def _whiskers(value: Mean) -> tuple[float, float]:
    """Return how far the bar of a gap reaches to both sides of its end."""
    if value.known and value.interval:
        low, high = value.interval
        return max(value.mean - low, 0.0), max(high - value.mean, 0.0)
    error = value.se if value.known and np.isfinite(value.se) else 0.0
    return error, error


def _label_stack(axes: "Axes", height: int, parts: SplitSummary, end: float, reach: float) -> None:
    """Label the parts of one stack, which ends, with its bars, at `end`; all do at `reach`."""
    gap = _width(parts.amortization_gap)
    above: dict[str, Any] = {"va": "bottom", "fontsize": 8.5}
    axes.text(0, height - 0.2, plus_minus(parts.amortization_gap), color=VERMILLION, **above)
    if parts.approximation_gap.known:
        # Side by side where the first bar is too short to hold its own label.
        left = max(gap, 0.23 * reach)
        axes.text(left, height - 0.2, plus_minus(parts.approximation_gap), color=BLUE, **above)
    if parts.evidence.known:
        words = f"evidence {side(parts.evidence.kind)}{plus_minus(parts.evidence)}"
        axes.text(end + 0.02 * reach, height, words, va="center", fontsize=8.5, color=INK)


def draw_histogram(axes: "Axes", points: PointGaps, name: str) -> None:
    """Draw the per-point gaps of every split over shared bins, with their means."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(f"{name.capitalize()} per datapoint, nats")
    cleaned = {split: finite(np.asarray(values, float)) for split, values in points.items()}
    cleaned = {split: values for split, values in cleaned.items() if values.size}
    if not cleaned:
        say_empty(axes, "no per-point numbers")
        return
    together = np.concatenate(list(cleaned.values()))
    low, high = min(0.0, together.min()), max(together.max(), 1e-3)
    edges = np.linspace(low, high, 31).tolist()
    for split, values in cleaned.items():
        colour = SPLIT_COLOURS.get(split, GREEN)
        label = f"{plain(split)}: mean {values.mean():.2g}, median {np.median(values):.2g}"
        _draw_steps(axes, values, edges, colour, signed(label))
        axes.axvline(values.mean(), color=colour, linewidth=1.1, linestyle=(0, (3, 2)))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("datapoints")
    axes.set_xlabel("nats")
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper right", fontsize=8.5)


def against(sides: Mapping[str, Mapping[str, np.ndarray]], names: tuple[str, str]) -> "Figure":
    """Draw how each number is distributed over the run's own rows and over others, over all bins.

    Args:
        sides: of each number, what the own and the other rows have, by `names`.
        names: of the own rows, of the others.
    """
    with style():
        figure = blank(8.6, 2.7)
        panels = figure.subplots(1, len(sides), squeeze=False)[0]
        for axes, (title, values) in zip(panels, sides.items(), strict=True):
            axes.set_title(f"{signed(title)}, nats")
            together = np.concatenate([finite(values[name]) for name in names])
            if together.size:
                edges = np.linspace(together.min(), max(together.max(), together.min() + 1e-3), 31)
            for name, colour in zip(names, (INK, VERMILLION), strict=True):
                seen = finite(values[name])
                if seen.size:
                    _draw_steps(axes, seen, edges.tolist(), colour, plain(name), density=True)
            axes.set_yticks([])
        panels[0].legend(loc="upper left", fontsize=8.5)
    return figure


def _draw_steps(
    axes: "Axes",
    values: np.ndarray,
    edges: Sequence[float],
    colour: str,
    label: str,
    *,
    density: bool = False,
) -> None:
    axes.hist(values, edges, density=density, histtype="stepfilled", color=colour, alpha=0.22)
    axes.hist(
        values, edges, density=density, histtype="step", color=colour, linewidth=1.4, label=label
    )


def frontier(curves: Mapping[Split, Sequence[FrontierStep]]) -> "Figure":
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


def ladder(splits: Mapping[str, Sequence[Rung]]) -> "Figure":
    """Draw what the best of each family has over the first one, and how far log p(x) is."""
    with style():
        bars = max(len(rungs) for rungs in splits.values())
        figure = blank(8.6, 1.1 + 0.34 * bars * len(splits) + 0.25 * len(splits))
        panels = figure.subplots(len(splits), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (split, rungs) in zip(panels, splits.items(), strict=True):
            _draw_ladder(axes, split, rungs)
        panels[-1].set_xlabel("nats above the best of the first family (bars: 95 % intervals)")
    return figure


def _draw_ladder(axes: "Axes", split: str, rungs: Sequence[Rung]) -> None:
    above = np.array([rung.bound - rungs[0].bound for rung in rungs])
    colour = SPLIT_COLOURS.get(split, GREEN)
    errors = Z * np.nan_to_num([rung.gain_se for rung in rungs])
    places = np.arange(len(rungs))
    axes.barh(places, above, 0.6, color=colour, alpha=0.35)
    axes.errorbar(above, places, xerr=errors, fmt="o", color=colour, markersize=4, elinewidth=1)
    axes.set_yticks(places, [plain(rung.family) for rung in rungs])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(rungs) - 0.4, -0.6)
    axes.axvline(0, color=MUTED, linewidth=1)
    last = rungs[-1]
    if last.left_value.known:
        end = float(above[-1]) + last.left
        label = f"log p(x) {side(last.evidence_kind)}here"
        axes.axvline(end, color=INK, linewidth=1, linestyle=(0, (4, 3)), label=label)
        axes.legend(loc="upper right", bbox_to_anchor=(0.97, 0.99), fontsize=8.5)
    axes.set_title(f"{plain(split)}, n = {count(last.n)}")
    axes.grid(visible=False, axis="y")


def _draw_curve(
    axes: "Axes",
    curve: Sequence[FrontierStep],
    horizontal: Sequence[float],
    colour: str,
    split: str,
) -> None:
    means = np.array([step.mean for step in curve])
    errors = Z * np.nan_to_num([step.se for step in curve])
    at = np.array(horizontal, float)
    seen = np.isfinite(at) & ((at > 0) | (axes.get_xscale() != "log"))
    axes.errorbar(
        at[seen], means[seen], errors[seen], color=colour, label=plain(split), marker="o",
        markersize=4, linewidth=1.3, elinewidth=1,
    )  # fmt: skip
    if not math.isfinite(curve[-1].steps):
        axes.axhline(means[-1], color=colour, linewidth=1, linestyle=(0, (4, 3)))
