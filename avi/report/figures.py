"""Figures from plain numbers: each function returns a matplotlib `Figure`.

`style.png` and `style.svg` turn one into bytes or into inline markup.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from avi.report.files import SPLITS, Axis, Curve, Value
from avi.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MUTED,
    PAPER,
    SERIES,
    SPLIT_COLOURS,
    VERMILLION,
    blank,
    finite,
    plain,
    say_empty,
    style,
)
from avi.report.wording import count, plus_minus, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELS: dict[Axis, str] = {
    "epoch": "epochs",
    "seconds": "seconds",
    "gradient_evaluations": "gradient evaluations",
    "documents": "documents seen",
}
_COMPARED: tuple[Axis, ...] = ("epoch", "seconds", "gradient_evaluations")


class Series(NamedTuple):
    """One line of a comparison; runs of one configuration share a label."""

    label: str
    curve: Curve


Interval = tuple[float, float] | None  # 95 %, None where it is not known


class Decomposition(NamedTuple):
    """Where the nats of one split go, all in nats per datapoint."""

    num_points: float
    bound: Value
    gap: Value  # amortization or optimisation gap
    approximation_gap: Value
    evidence: Value
    evidence_kind: str  # "exact", "lower", "upper" or ""
    gap_interval: Interval = None
    approximation_interval: Interval = None

    def losses(self) -> tuple[tuple[Value, Interval], tuple[Value, Interval]]:
        """Return both gaps with their 95 % intervals."""
        approximation = (self.approximation_gap, self.approximation_interval)
        return (self.gap, self.gap_interval), approximation


def elbo_curves(
    curves: Mapping[str, Curve], bound_name: str = "ELBO", axis: Axis = "epoch"
) -> "Figure":
    """Draw the bound against `axis` and, smaller, against seconds."""
    has_seconds = any(np.isfinite(curve.axis("seconds")).any() for curve in curves.values())
    with style():
        figure = blank(8.6, 3.5)
        ratios = {"width_ratios": [2.4, 1]} if has_seconds else {}
        panels = figure.subplots(
            1, 1 + has_seconds, sharey=True, squeeze=False, gridspec_kw=ratios
        )[0]
        axes_names: tuple[Axis, ...] = (axis, "seconds")
        for axes, name in zip(panels, axes_names, strict=False):
            for split in SPLITS:
                _draw_split(axes, split, curves.get(split, Curve()), name)
            axes.set_xlabel(_LABELS[name])
            axes.margins(x=0.03)
        start = _focus(panels[0], [curve for curve in curves.values() if curve.points])
        panels[0].set_title(f"{bound_name}, nats per datapoint (higher is better){start}")
        if panels[0].get_legend_handles_labels()[0]:
            panels[0].legend(loc="lower right", fontsize=8.5)
        else:
            say_empty(panels[0], "no measurements yet")
    return figure


def _draw_split(axes: "Axes", split: str, curve: Curve, axis: Axis) -> None:
    horizontal, means = curve.axis(axis), curve.means
    seen = np.isfinite(horizontal) & np.isfinite(means)
    if curve.last is None or not seen.any():
        return
    colour = SPLIT_COLOURS[split]
    label = f"{split}  {plus_minus(curve.last.bound)}"
    if split == "train":
        _draw_noisy(axes, horizontal[seen], means[seen], colour, label)
        return
    errors = np.nan_to_num(curve.standard_errors)
    axes.errorbar(
        horizontal[seen],
        means[seen],
        errors[seen],
        color=colour,
        label=label,
        marker={"valid": "o", "test": "D"}[split],
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


def _focus(axes: "Axes", curves: Sequence[Curve]) -> str:
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


def comparison(series: Sequence[Series], what: str) -> "Figure":
    """Overlay runs against epochs, seconds and gradient evaluations, one colour per label."""
    labels = list(dict.fromkeys(line.label for line in series))
    runs = Counter(line.label for line in series)
    with style():
        figure = blank(10.5, 4.0 + 0.18 * ((len(labels) + 1) // 2))
        panels = figure.subplots(1, 3, sharey=True)
        for axes, axis in zip(panels, _COMPARED, strict=True):
            for line in series:
                _draw_run(axes, line, axis, labels.index(line.label), alone=runs[line.label] == 1)
            axes.set_xlabel(_LABELS[axis] + (" (log)" if axis == "gradient_evaluations" else ""))
            axes.margins(x=0.03)
        panels[2].set_xscale("log")
        panels[2].minorticks_off()
        start = _focus(panels[0], [line.curve for line in series if line.curve.points])
        panels[0].set_title(f"{what}, nats per datapoint (higher is better){start}")
        handles = dict(zip(*_handles(panels[0]), strict=True))
        if handles:
            repeated = {plain(name): f"  ({runs[name]} runs)" for name in labels if runs[name] > 1}
            names = [name + repeated.get(name, "") for name in handles]
            figure.legend(handles.values(), names, loc="outside lower left", ncols=2, fontsize=8.5)
        else:
            say_empty(panels[0], "no measurements yet")
    return figure


def _handles(axes: "Axes") -> tuple[list[str], list[Any]]:
    handles, labels = axes.get_legend_handles_labels()
    return labels, handles


def _draw_run(axes: "Axes", line: Series, axis: Axis, index: int, *, alone: bool) -> None:
    horizontal, means = line.curve.axis(axis), line.curve.means
    seen = np.isfinite(horizontal) & np.isfinite(means)
    if axis == "gradient_evaluations":
        seen &= horizontal > 0
    if not seen.any():
        return
    dashes = ("-", "--", ":")[index // len(SERIES) % 3]
    axes.plot(
        horizontal[seen],
        means[seen],
        color=SERIES[index % len(SERIES)],
        linestyle=dashes,
        linewidth=1.5 if alone else 0.9,
        marker="o" if seen.sum() <= 12 else "",
        markersize=3,
        label=plain(line.label),
    )


def gap_figure(
    splits: Mapping[str, Decomposition], points: Mapping[str, np.ndarray], name: str
) -> "Figure":
    """Draw the decomposition above the distribution of the per-point gaps: gap/gap.png."""
    with style():
        figure = blank(8.6, 2.0 + 0.8 * max(len(splits), 1) + 2.2)
        top, bottom = figure.subplots(
            2, 1, gridspec_kw={"height_ratios": [0.9 + 0.8 * max(len(splits), 1), 2.2]}
        )
        draw_decomposition(top, splits, name)
        draw_histogram(bottom, points, name)
    return figure


def decomposition(splits: Mapping[str, Decomposition], name: str) -> "Figure":
    """Draw the stacked decomposition alone."""
    with style():
        figure = blank(8.6, 1.2 + 0.8 * max(len(splits), 1))
        draw_decomposition(figure.subplots(), splits, name)
    return figure


def histogram(points: Mapping[str, np.ndarray], name: str) -> "Figure":
    """Draw the distribution of the per-point gaps alone."""
    with style():
        figure = blank(8.6, 2.5)
        draw_histogram(figure.subplots(), points, name)
    return figure


def draw_decomposition(axes: "Axes", splits: Mapping[str, Decomposition], name: str) -> None:
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
    intervals = any(interval for parts in splits.values() for _, interval in parts.losses())
    bars = "95 % intervals" if intervals else "± one paired standard error"
    axes.set_xlabel(f"nats above the bound at the mode's λ (bars: {bars})")


def _name_parts(axes: "Axes", splits: Mapping[str, Decomposition], name: str) -> None:
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


def _hatch(parts: Decomposition) -> str | None:
    return None if parts.evidence_kind in ("exact", "") else "////"


def _split_label(split: str, parts: Decomposition) -> str:
    return f"{plain(split)}, n = {count(parts.num_points)}\nELBO {plus_minus(parts.bound)}"


def _width(value: Value) -> float:
    return max(value.mean, 0.0) if value.known else 0.0


def _draw_stack(axes: "Axes", height: int, parts: Decomposition) -> float:
    gap, rest = _width(parts.gap), _width(parts.approximation_gap)
    thickness = 0.34
    axes.barh(height, gap, thickness, color=VERMILLION)
    axes.barh(
        height, rest, thickness, left=gap, color=BLUE, edgecolor=PAPER, linewidth=0,
        hatch=_hatch(parts),
    )  # fmt: skip
    reach = gap + rest
    for end, loss in zip((gap, gap + rest), parts.losses(), strict=True):
        below, above = _whiskers(*loss)
        axes.errorbar(end, height, xerr=[[below], [above]], color=INK, capsize=2.5, lw=1.1)
        reach = max(reach, end + above)
    return reach


def _whiskers(value: Value, interval: Interval) -> tuple[float, float]:
    """Return how far the bar of a gap reaches to both sides of its end."""
    if value.known and interval:
        return max(value.mean - interval[0], 0.0), max(interval[1] - value.mean, 0.0)
    error = value.standard_error if value.known and np.isfinite(value.standard_error) else 0.0
    return error, error


def _label_stack(axes: "Axes", height: int, parts: Decomposition, end: float, reach: float) -> None:
    """Label the parts of one stack, which ends, with its bars, at `end`; all do at `reach`."""
    gap = _width(parts.gap)
    above: dict[str, Any] = {"va": "bottom", "fontsize": 8.5}
    axes.text(0, height - 0.2, plus_minus(parts.gap), color=VERMILLION, **above)
    if parts.approximation_gap.known:
        # Side by side where the first bar is too short to hold its own label.
        left = max(gap, 0.23 * reach)
        axes.text(left, height - 0.2, plus_minus(parts.approximation_gap), color=BLUE, **above)
    sign = {"lower": "≥ ", "upper": "≤ "}.get(parts.evidence_kind, "")
    if parts.evidence.known:
        words = f"evidence {sign}{plus_minus(parts.evidence)}"
        axes.text(end + 0.02 * reach, height, words, va="center", fontsize=8.5, color=INK)


def draw_histogram(axes: "Axes", points: Mapping[str, np.ndarray], name: str) -> None:
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
        axes.hist(values, edges, histtype="stepfilled", color=colour, alpha=0.22)
        axes.hist(values, edges, histtype="step", color=colour, linewidth=1.4, label=signed(label))
        axes.axvline(values.mean(), color=colour, linewidth=1.1, linestyle=(0, (3, 2)))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("datapoints")
    axes.set_xlabel("nats")
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper right", fontsize=8.5)


def most_active(means: np.ndarray) -> tuple[int, int]:
    """Return the two dimensions in which the posterior means vary most."""
    order = np.argsort(-np.var(means, axis=0), kind="stable")
    return int(order[0]), int(order[1])


def latent_space(
    means: np.ndarray, deviations: np.ndarray | None = None, labels: np.ndarray | None = None
) -> "Figure":
    """Scatter posterior means [M, D]: 2-D directly, else the two most active dimensions."""
    with style():
        figure = blank(6.2, 5.4)
        axes = figure.subplots()
        axes.set_axisbelow(True)
        if means.shape[1] == 1:
            horizontal = means[:, 0]
            vertical = (means if deviations is None else deviations)[:, 0]
            names = ("posterior mean of z", "its posterior standard deviation")
        else:
            first, second = sorted(most_active(means))
            horizontal, vertical = means[:, first], means[:, second]
            names = (f"posterior mean of z[{first}]", f"posterior mean of z[{second}]")
            axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])
        _scatter(axes, horizontal, vertical, labels)
    return figure


def _scatter(
    axes: "Axes", horizontal: np.ndarray, vertical: np.ndarray, labels: np.ndarray | None
) -> None:
    many: dict[str, Any] = {"linewidths": 0, "rasterized": True}
    classes = np.unique(labels) if labels is not None else np.zeros(0)
    if labels is None or len(labels) != len(horizontal) or not 1 < len(classes) <= 10:
        axes.scatter(horizontal, vertical, s=9, color=BLUE, alpha=0.6, **many)
        return
    # The marker is the label itself, so that the figure needs neither colour nor legend.
    palette = (*SERIES, INK)
    for index, name in enumerate(classes):
        chosen = labels == name
        words = str(name)
        marker = f"${words}$" if re.fullmatch(r"\d", words) else "o"
        axes.scatter(
            horizontal[chosen], vertical[chosen], s=32, color=palette[index], marker=marker,
            alpha=0.85, label=plain(words), **many,
        )  # fmt: skip
    if not all(re.fullmatch(r"\d", str(name)) for name in classes):
        axes.legend(fontsize=8.5)


def profiles(rows: np.ndarray, reconstructions: np.ndarray | None, most: int = 6) -> "Figure":
    """Draw observations that are no images, [n, features], as dots under their reconstruction."""
    shown = min(most, len(rows))
    with style():
        figure = blank(8.6, 0.3 + 1.7 * ((shown + 2) // 3))
        panels = figure.subplots((shown + 2) // 3, 3, sharex=True, sharey=True, squeeze=False)
        for index, axes in enumerate(panels.ravel()):
            if index >= shown:
                axes.set_axis_off()
                continue
            axes.plot(rows[index], "o", color=GREY, markersize=3.5, label="observation")
            if reconstructions is not None:
                axes.plot(reconstructions[index], color=VERMILLION, label="reconstruction")
            axes.set_xlabel("feature" if index // 3 == (shown - 1) // 3 else "")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=8.5)
    return figure
