"""`avi runs`: every run under a folder, a line each."""

from pathlib import Path

from avi.cli.command import Command, Line
from avi.cli.tables import flagged, print_json
from avi.errors import ConfigError


def run(words: list[str]) -> int:
    """List the runs in the folders among the words, by default those of outputs."""
    flags, folders = flagged(words, "--sort", "--where")
    from dataclasses import fields

    from avi.cli.overview import Listed, listed, ordered, roots_of
    from avi.cli.overview import words as words_of
    from avi.config.schema import nearest

    conditions = []
    for word in flags.get("--where", ()):
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--where takes key=value, for example --where model=vae; got {word}")
        conditions.append((key, value))
    names = [each.name for each in fields(Listed)]
    by = flags.get("--sort", ["run"])[-1]
    if by not in names:
        raise ConfigError(
            f"--sort {by}: there is no such column; there are {', '.join(names)}."
            f"{nearest(by, names)}"
        )
    roots = roots_of(folders, "runs")
    lines = ordered(listed(roots, conditions), by)
    if "--json" in flags:
        print_json(lines)
    elif lines:
        print("\n".join(words_of(lines, roots[0] if len(roots) == 1 else Path())))
    else:
        print("No runs" + (" that meet all conditions." if conditions else f" in {roots[0]}."))
    return 0


def offer(line: Line) -> list[str]:
    """Return folders and flags."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, ["--sort", "--where", "--json"])
    return offers.paths(line.current, folders_only=True)


COMMAND = Command(
    name="runs",
    summary="list the runs under a folder: state, bound, gap, age",
    usage="avi runs [folder ...] [--sort column] [--where key=value] [--json]",
    examples="""\
  avi runs                                  those under outputs
  avi runs outputs/sweeps --sort bound      best first
  avi runs --where inference=svi --where train.epochs=100
  avi runs --json | jq '.[].run'            for programs
""",
    run=run,
    offer=offer,
    title="List the runs under a folder, a line each",
    answers_only=True,
)
