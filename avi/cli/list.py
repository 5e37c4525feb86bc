"""`avi list`: every choice of every group."""

from avi.cli.command import Command, Line
from avi.cli.tables import flagged, print_json
from avi.cli.words import with_folders
from avi.config import catalog
from avi.errors import ConfigError


def run(words: list[str]) -> int:
    """Print the choices of all groups or of those named."""
    flags, words = flagged(with_folders(words))
    from avi.cli.help import choices
    from avi.config.schema import nearest

    known = catalog.groups()
    for word in words:
        if word not in known:
            names = ", ".join(known)
            raise ConfigError(
                f"There is no group {word}; choose from: {names}.{nearest(word, known)}"
            )
    if "--json" in flags:
        print_json(
            [
                {"group": group, "choice": choice, "what": catalog.description(path)}
                for group in words or known
                for choice, path in known[group].items()
            ]
        )
    else:
        print(choices(words or list(known)))
    return 0


def offer(line: Line) -> list[str]:
    """Return the groups, and its flag."""
    from avi.cli import offers

    return offers.starting(line.current, [*catalog.groups(), "--json"])


COMMAND = Command(
    name="list",
    summary="show every choice of every group, e.g. `avi list dataset`",
    usage="avi list [-cd <folder>] [group ...] [--json]",
    examples="""\
  avi list
  avi list dataset model
  avi list -cd conf model                   with those of a folder of your own
""",
    run=run,
    offer=offer,
    title="Show every choice of every group, with one line of explanation",
    answers_only=True,
)
