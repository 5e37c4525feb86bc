"""`avi diff`: what differs between two runs, settings first, then their numbers."""

from pathlib import Path

from avi.cli.command import Command, Line
from avi.cli.tables import flagged, print_json, print_table
from avi.errors import ConfigError


def run(words: list[str]) -> int:
    """Print the settings in which two runs differ, and the bounds and gaps of both."""
    flags, folders = flagged(words)
    if len(folders) != 2:
        raise ConfigError("Which two runs? For example: avi diff outputs/train/a outputs/train/b")
    from avi.cli.differences import differences

    found = differences(*map(Path, folders))
    if "--json" in flags:
        print_json(found)
    else:
        print_table([("", *folders), *((d.what, d.first, d.other) for d in found)])
    return 0


def offer(line: Line) -> list[str]:
    """Return folders."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, ["--json"])
    return offers.paths(line.current, folders_only=True)


COMMAND = Command(
    name="diff",
    summary="show what differs between two runs, and their numbers",
    usage="avi diff <run> <run> [--json]",
    examples="""\
  avi diff outputs/train/<one> outputs/train/<other>
""",
    run=run,
    offer=offer,
    title="Show the settings in which two runs differ, and the numbers of both",
    answers_only=True,
)
