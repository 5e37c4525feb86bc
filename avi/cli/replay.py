"""`avi replay`: train a run again and compare it with its record."""

from avi.cli.command import Command, Line, work_on
from avi.cli.words import own_keys, own_words, run_folder


def run(words: list[str]) -> int:
    """Train again."""
    own, _ = own_words("replay", words)
    folder = run_folder(own, "replay")

    from avi.run import replay

    return work_on(folder, lambda: replay.main(folder))


def offer(line: Line) -> list[str]:
    """Return its key."""
    from avi.cli import offers

    return offers.settings(line, own_keys("replay"))


COMMAND = Command(
    name="replay",
    summary="train a run again and compare it with its record",
    usage="avi replay run=<folder>",
    examples="""\
  avi replay run=outputs/train/<folder>     exit code 0: the record is what
                                            training gives; 10: it is not
""",
    run=run,
    offer=offer,
)
