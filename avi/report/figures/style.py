"""The one look of all figures: quiet, readable in print, told apart without colour vision.

matplotlib loads on first use and its global state is never touched.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2328", "#656d76", "#d5dbe1", "#ffffff"
# Okabe & Ito (2008): told apart under every common form of colour blindness.
BLUE, VERMILLION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#8c959f"
BROWN, SLATE = "#7f4f24", "#5c5c8a"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BROWN, SLATE, GREY)
SPLIT_COLOURS = {"batches": GREY, "train": INK, "valid": BLUE, "test": VERMILLION}
# In a page these follow the reader's light or dark scheme: the variables of page.css.
_THEMED = {
    INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", BLUE: "blue", GREY: "grey",
    VERMILLION: "vermillion", GREEN: "green", ORANGE: "orange", PURPLE: "purple", SKY: "sky",
    BROWN: "brown", SLATE: "slate",
}  # fmt: skip


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Set the one style of all figures for the time of a `with` block."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "axes.titlecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "legend.frameon": False,
        "text.color": INK,
        "lines.linewidth": 1.4,
        "lines.solid_capstyle": "round",
        "hatch.linewidth": 0.7,
        "svg.fonttype": "path",
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Somebody's label may hold a letter that the font lacks: a box is drawn in its place.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def blank(width: float, height: float) -> "Figure":
    """Return an empty figure of `width` by `height` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def png(figure: "Figure") -> bytes:
    """Return `figure` as PNG on white paper."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=160, facecolor=PAPER, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: "Figure", title: str) -> "Markup":
    """Return `figure` as inline markup whose ink and paper follow the page's colours.

    It is not to be escaped. `title` is read out by screen readers; it also keeps the ids of several
    figures apart, so it must differ between the figures of a page.
    """
    import matplotlib as mpl
    from markupsafe import Markup

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with style(), mpl.rc_context({"svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    markup = buffer.getvalue()
    markup = markup[markup.index("<svg") :]
    markup = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", markup, flags=re.DOTALL)
    # The page sets the width; the viewBox keeps the proportions.
    markup = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", markup, count=1)
    markup = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", markup, count=1)
    markup = markup.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    for colour, name in _THEMED.items():
        markup = markup.replace(colour, f"var(--{name})")
    return Markup(markup)  # noqa: S704


def finite(values: np.ndarray) -> np.ndarray:
    """Return the finite numbers among `values`."""
    return values[np.isfinite(values)]


def plain(words: str) -> str:
    """Return somebody's words so that matplotlib draws them as they are: no formula, no control."""
    return "".join(letter if letter.isprintable() else "?" for letter in words).replace("$", r"\$")


def say_empty(axes: "Axes", words: str) -> None:
    """Write `words` where there is nothing to draw."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_xticks([])
    axes.set_yticks([])
