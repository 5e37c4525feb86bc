"""`avi status`: how far each run of a sweep is, those that wait included."""

from pathlib import Path

from avi.cli.command import Command, Line
from avi.cli.tables import flagged, print_json


def run(words: list[str]) -> int:
    """Say how far the runs in the folders among the words are, by default those of outputs."""
    flags, folders = flagged(words)
    from avi.cli.overview import roots_of
    from avi.cli.progress import progress
    from avi.cli.progress import words as words_of

    roots = roots_of(folders, "status")
    runs = progress(roots)
    if "--json" in flags:
        print_json(runs)
    elif runs:
        print("\n".join(words_of(runs, roots[0] if len(roots) == 1 else Path())))
    else:
        print(f"No runs in {roots[0]}.")
    return 0


def offer(line: Line) -> list[str]:
    """Return folders, and the flag."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, ["--json"])
    return offers.paths(line.current, folders_only=True)


COMMAND = Command(
    name="status",
    summary="how far a sweep is: waiting, running, done, failed and why",
    usage="avi status [folder ...] [--json]",
    examples="""\
  avi status outputs/sweeps/seed-1a2b       a sweep, a line for each run
  avi status                                all runs under outputs
  avi status --json | jq '.[] | select(.state == "failed") | .reason'
""",
    run=run,
    offer=offer,
    title="Say how far the runs of a sweep are, a line each",
    notes=(
        "It reads the folders alone, on any machine that sees them. A run waits from the moment "
        "in which a launcher was asked for it; one that was preempted goes on when its job runs "
        "again, or with the same command.",
    ),
    answers_only=True,
)
