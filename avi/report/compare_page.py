"""`avi compare`: the files that put several runs side by side."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from avi.report import figures, tables
from avi.report import render as page
from avi.report.claims import claims
from avi.report.files import write_atomically
from avi.report.runs import Row, collect
from avi.report.style import png, svg

_SPLIT_WORDS = {"train": "Training", "valid": "Validation"}


class Comparison(NamedTuple):
    """What `write_comparison` made."""

    rows: list[Row]
    terminal: str  # the table and the claims, at most 80 columns
    paths: list[Path]


def write_comparison(folders: Iterable[Path], out: Path) -> Comparison:
    """Write comparison.csv, .md, .png and .html of the runs in `folders` into the folder `out`."""
    rows = collect(folders)
    words = claims(rows)
    split = curve_split(rows)
    series = [figures.Series(row.label, row.curves[split]) for row in rows]
    drawing = figures.comparison(series, f"{_SPLIT_WORDS[split]} {tables.bound_name(rows)}")
    contents: dict[str, bytes | str] = {
        "comparison.csv": tables.as_csv(rows),
        "comparison.md": tables.markdown(rows, words),
        "comparison.png": png(drawing),
        "comparison.html": _page(rows, words, svg(drawing, "Curves of all runs"), out),
    }
    several = tables.seeds_as_csv(rows)
    if several:
        contents["comparison_seeds.csv"] = several
    paths = [write_atomically(Path(out) / name, content) for name, content in contents.items()]
    return Comparison(rows, tables.terminal(rows, words), paths)


def curve_split(rows: Sequence[Row]) -> str:
    """Return the split whose curves are overlaid: validation where every run has it, else train."""
    return "valid" if all(row.curves["valid"].points for row in rows) else "train"


def _page(rows: Sequence[Row], words: Sequence[str], drawing: str, out: Path) -> str:
    names = tables.result_header(rows)
    several = tables.seed_cells(rows)
    return page.page(
        f"avi: comparison of {len(rows)} runs",
        page.paragraph("avi compare", "kicker"),
        f"<h1>{len(rows)} runs side by side</h1>",
        page.figure(
            drawing,
            "Only the third axis is fair between modes: one gradient evaluation is one reverse "
            "pass of log p(x, z) for one datapoint and one draw.",
        ),
        page.section("What these runs say", *map(page.claim, words)),
        page.section(
            "What they reached",
            page.table(names, tables.result_cells(rows), _kinds(names)),
            page.table(tables.seed_header(rows), several, ["", *["number"] * 3]) if several else "",
            page.paragraph(
                "Nats per datapoint, ± one standard error over datapoints; "
                "over runs, ± one standard deviation.",
                "note",
            ),
        ),
        page.section(
            "What they keep and cost",
            page.table(tables.COST_HEADER, tables.cost_cells(rows), _kinds(tables.COST_HEADER)),
            page.paragraph(
                "Parameters φ: variational parameters kept. New x: one observation outside the "
                "training set. Gradients: gradient evaluations.",
                "note",
            ),
        ),
        page.section("Their reports", "".join(_link(row, out) for row in rows)),
    )


def _kinds(names: Sequence[str]) -> list[str]:
    return ["", *["number"] * (len(names) - 1)]


def _link(row: Row, out: Path) -> str:
    report = row.folder / "report.html"
    if not report.is_file():
        return ""
    target = quote(os.path.relpath(report, out).replace(os.sep, "/"))
    name = page.escape(row.folder.name)
    return f'<p class="note"><a href="./{target}">{name}</a> {page.escape(row.label)}</p>'
