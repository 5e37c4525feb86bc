"""What a command is, and which there are: each is the file of its name in this folder."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

# As the help has them.
NAMES = (
    "train", "import", "gap", "calibrate", "infer", "export", "compare", "runs", "status", "diff",
    "replay", "verify", "list", "docs", "completion",
)  # fmt: skip


class Line(NamedTuple):
    """A command line under way: the whole words behind the command, and the one being typed."""

    given: list[str]
    current: str

    @property
    def chosen(self) -> dict[str, str]:
        """The settings among the whole words."""
        return dict(word.split("=", 1) for word in self.given if "=" in word)


class Command(NamedTuple):
    """The words of a command, its help and what does its work.

    Its file imports nothing at its top that takes time: the help of all commands reads all files.
    """

    name: str
    summary: str  # one line of `avi --help`
    usage: str
    examples: str
    run: Callable[[list[str]], int]  # the words behind its name to an exit code
    offer: Callable[[Line], list[str]]  # what Tab makes of the word being typed
    title: str | None = None  # of its help; None: the comment of its yaml, whose keys it takes
    groups: bool = False  # whether its help shows what to choose in each group
    notes: tuple[str, ...] = ()  # paragraphs at the end of its help
    answers_only: bool = False  # it prints, and may be left before its end
    resumable: bool = False  # a scheduler stops it and gives it again


def commands() -> dict[str, Command]:
    """Return every command by its name."""
    return {name: import_module(f"avi.cli.{name}").COMMAND for name in NAMES}


def carry_out(command: Command, words: list[str]) -> int:
    """Return the exit code of a command; what went wrong is explained."""
    from contextlib import nullcontext

    from avi.process import signals
    from avi.process.outcome import explain

    try:
        with signals.ending_at_once() if command.resumable else nullcontext():
            return command.run(words)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, BrokenPipeError) and command.answers_only:
            raise
        return explain(error)


def work_on(run: Path, work: Callable[[], object]) -> int:
    """Return the exit code of work on a run, to whose log a bug's traceback goes."""
    from avi.process.outcome import explain

    try:
        work()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return explain(error, run)
    return 0
