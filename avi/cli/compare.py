"""`avi compare`: several runs in one table and one figure."""

from pathlib import Path

from avi.process.terminal import say
from avi.report.compare_page import write_comparison
from avi.rundir import make_folder


def main(folders: list[Path], out: Path | None = None) -> None:
    """Write comparison.csv, .md, .png and .html, and print the table.

    Args:
        folders: run folders.
        out: where to write; by default the folder `comparison` beside the first run.
    """
    out = out if out is not None else folders[0].resolve().parent / "comparison"
    make_folder(out)
    comparison = write_comparison(folders, out)
    say(comparison.terminal)
    for path in comparison.paths:
        say(str(path))
