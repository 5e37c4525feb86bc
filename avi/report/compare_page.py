"""`avi compare`: the files that put several runs side by side."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from avi.comparison.pairs import pairs, ranked
from avi.comparison.runs import Row, collect
from avi.comparison.varied import varied
from avi.report import tables
from avi.report.claims import claims
from avi.report.figures import comparison as figures
from avi.report.figures.style import png, svg
from avi.report.render import page
from avi.results import comparison
from avi.results.comparison import Pair
from avi.results.record import grouped
from avi.results.store import write_atomically
from avi.settings import Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SERIES_WORDS = {"batches": "Training batches", "valid": "Validation"}


class Comparison(NamedTuple):
    """What `write_comparison` made."""

    rows: list[Row]
    terminal: str  # the table and the claims, at most 80 columns
    paths: list[Path]


def write_comparison(folders: Iterable[Path], out: Path) -> Comparison:
    """Write comparison.csv, .md, .png and .html of the runs in `folders` into the folder `out`.

    Where several of them have a gap, comparison_gaps.png shows it.
    """
    found, left_out = collect(folders)
    rows = ranked(found)
    matched = pairs(rows)
    words = [*claims(rows), *left_out]
    drawing, lost = _curves(rows), _gaps(rows)
    shown = _tables(rows, matched)
    contents: dict[str, bytes | str] = {
        "comparison.md": page("comparison.md", **shown, claims=words),
        "comparison.png": png(drawing),
        "comparison.html": page(
            "compare.html",
            **shown,
            rows=rows,
            claims=words,
            drawing=svg(drawing, "Curves of all runs"),
            lost=svg(lost, "What each configuration loses") if lost else None,
            reports=[_link(row, out) for row in rows if (row.path / "report.html").is_file()],
        ),
    }
    if lost:
        contents["comparison_gaps.png"] = png(lost)
    paths = comparison.write(out, rows, comparison.summaries(rows), matched)
    paths += [write_atomically(Path(out) / name, content) for name, content in contents.items()]
    return Comparison(rows, tables.terminal(rows, words, matched), paths)


def _curves(rows: Sequence[Row]) -> "Figure":
    name = overlaid(rows)
    series = [figures.Series(row.label, row.curves[name]) for row in rows]
    return figures.overlaid(series, f"{_SERIES_WORDS[name]} {tables.bound_name(rows)}")


def _gaps(rows: Sequence[Row]) -> "Figure | None":
    """Return the gaps of all configurations, None where fewer than two have one."""
    known = [row for row in rows if row.gap_value.known]
    found = {
        label: [row.gap_value for row in group]
        for label, group in grouped(known, lambda row: row.label).items()
    }
    if len(found) < 2:
        return None
    along = varied(known)
    if along is None:
        return figures.gaps(found)
    return figures.gaps_along(found, along.values, along.key)


def overlaid(rows: Sequence[Row]) -> Series:
    """Return whose curves are overlaid: validation where every run has it, else minibatches."""
    return "valid" if all(row.curves["valid"].points for row in rows) else "batches"


def _tables(rows: Sequence[Row], matched: Sequence[Pair]) -> dict[str, Any]:
    found = (
        tables.over_seeds(rows),
        tables.paired(matched),
        tables.reached(rows),
        tables.parts(rows),
        tables.costs(rows),
    )
    return {"gap": tables.gap_names(rows), "tables": [table for table in found if table.cells]}


def _link(row: Row, out: Path) -> tuple[str, str, str]:
    target = quote(os.path.relpath(row.path / "report.html", out).replace(os.sep, "/"))
    return f"./{target}", row.path.name, row.label
