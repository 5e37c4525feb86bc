"""Posterior means as points, and observations that are no images as profiles."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from avi.report.figures.style import BLUE, GREY, INK, SERIES, VERMILLION, blank, plain, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    many: dict[str, Any] = {"linewidths": 0}
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
