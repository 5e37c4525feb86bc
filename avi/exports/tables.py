"""Bounds and gaps in plain CSV."""

from pathlib import Path

from avi.results import metrics, points
from avi.results.record import cell, lines_of, table
from avi.results.run import Run
from avi.rundir import atomic_write, make_folder


def write(folder: Path, run: Run) -> list[Path]:
    """Write metrics.csv, and points.csv where there is a gap report; return their paths."""
    make_folder(folder)
    columns = metrics.columns(run.curves)
    measured = (map(cell, line) for line in zip(*columns.values(), strict=True))
    tables = {"metrics.csv": lines_of([columns, *measured])}
    if run.points:
        tables["points.csv"] = table(points.Decomposition, run.points)
    for name, content in tables.items():
        atomic_write(folder / name, content.encode())
    return [folder / name for name in tables]
