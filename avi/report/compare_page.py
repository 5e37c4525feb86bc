"""`avi compare`: the files that put several runs side by side."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from avi.comparison.pairs import pairs, ranked
from avi.comparison.runs import Row, collect
from avi.report import tables
from avi.report.claims import claims
from avi.report.figures import curves
from avi.report.figures.style import png, svg
from avi.report.render import markup, page
from avi.results import comparison
from avi.results.store import write_atomically
from avi.settings import Series

_SERIES_WORDS = {"batches": "Training batches", "valid": "Validation"}


class Comparison(NamedTuple):
    """What `write_comparison` made."""

    rows: list[Row]
    terminal: str  # the table and the claims, at most 80 columns
    paths: list[Path]


class Table(NamedTuple):
    """Cells as words, under their header."""

    header: Sequence[str]
    cells: Sequence[Sequence[str]]

    @property
    def kinds(self) -> list[str]:
        """The class of each column: names, then numbers."""
        return ["", *["number"] * (len(self.header) - 1)]


def write_comparison(folders: Iterable[Path], out: Path) -> Comparison:
    """Write comparison.csv, .md, .png and .html of the runs in `folders` into the folder `out`."""
    found, left_out = collect(folders)
    rows = ranked(found)
    words = [*claims(rows), *left_out]
    name = overlaid(rows)
    series = [curves.Series(row.label, row.curves[name]) for row in rows]
    drawing = curves.comparison(series, f"{_SERIES_WORDS[name]} {tables.bound_name(rows)}")
    contents: dict[str, bytes | str] = {
        "comparison.md": page("comparison.md", **_tables(rows), claims=words),
        "comparison.png": png(drawing),
        "comparison.html": _page(rows, words, svg(drawing, "Curves of all runs"), out),
    }
    paths = comparison.write(out, rows, comparison.summaries(rows), pairs(rows))
    paths += [write_atomically(Path(out) / name, content) for name, content in contents.items()]
    return Comparison(rows, tables.terminal(rows, words, pairs(rows)), paths)


def overlaid(rows: Sequence[Row]) -> Series:
    """Return whose curves are overlaid: validation where every run has it, else minibatches."""
    return "valid" if all(row.curves["valid"].points for row in rows) else "batches"


def _tables(rows: Sequence[Row]) -> dict[str, Any]:
    found = (
        Table(tables.result_header(rows), tables.result_cells(rows)),
        Table(tables.pair_header(pairs(rows)), tables.pair_cells(pairs(rows))),
        Table(tables.seed_header(rows), tables.seed_cells(rows)),
        Table(tables.PARTS_HEADER, tables.parts_cells(rows)),
        Table(tables.COST_HEADER, tables.cost_cells(rows)),
    )
    return {"gap": tables.gap_names(rows), "tables": [table for table in found if table.cells]}


def _page(rows: Sequence[Row], words: Sequence[str], drawing: str, out: Path) -> str:
    reports = [_link(row, out) for row in rows if (row.path / "report.html").is_file()]
    values = {"rows": rows, "claims": words, "drawing": markup(drawing), "reports": reports}
    return page("compare.html", **values, **_tables(rows))


def _link(row: Row, out: Path) -> tuple[str, str, str]:
    target = quote(os.path.relpath(row.path / "report.html", out).replace(os.sep, "/"))
    return f"./{target}", row.path.name, row.label
