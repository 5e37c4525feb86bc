"""`avi compare`: several runs in one table and one figure."""

from pathlib import Path
from typing import TYPE_CHECKING

from avi.cli.command import Command, Line
from avi.cli.tables import flagged, print_json
from avi.cli.words import own_words, path
from avi.errors import ConfigError

if TYPE_CHECKING:
    from avi.report.compare_page import Comparison


def run(words: list[str]) -> int:
    """Put the runs in the folders among the words side by side."""
    flags, words = flagged(words)
    folders = [Path(word) for word in words if not word.startswith("out=")]
    own, _ = own_words("compare", [word for word in words if word.startswith("out=")])
    if not folders:
        raise ConfigError("Which runs? For example: avi compare outputs/train/*")
    out = path(own, "out")
    if "--json" not in flags:
        main(folders, out)
        return 0
    from avi.results.comparison import Compared
    from avi.results.record import shared

    print_json([shared(Compared, row) for row in written(folders, out).rows])
    return 0


def main(folders: list[Path], out: Path | None = None) -> "Comparison":
    """Write comparison.csv, .md, .png and .html, and print the table.

    Args:
        folders: run folders.
        out: where to write; by default the folder `comparison` beside the first run.
    """
    from avi.process.terminal import say

    comparison = written(folders, out)
    say(comparison.terminal)
    for file in comparison.paths:
        say(str(file))
    return comparison


def written(folders: list[Path], out: Path | None) -> "Comparison":
    """Write the files of a comparison, and return it."""
    from avi.report.compare_page import write_comparison
    from avi.rundir import make_folder

    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {folder}.")
    out = out if out is not None else folders[0].resolve().parent / "comparison"
    make_folder(out)
    return write_comparison(folders, out)


def offer(line: Line) -> list[str]:
    """Return folders, and out=."""
    from avi.cli import offers

    if "=" in line.current:
        return offers.settings(line, ["out"])
    return [
        *offers.starting(line.current, ["out=", "--json"]),
        *offers.paths(line.current, folders_only=True),
    ]


COMMAND = Command(
    name="compare",
    summary="put runs side by side in one table and one figure",
    usage="avi compare <folders...> [out=<folder>] [--json]",
    examples="""\
  avi compare outputs/train/*
  avi compare outputs/sweeps/inference-1a2b/* out=comparison
""",
    run=run,
    offer=offer,
)
