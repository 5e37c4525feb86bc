"""What a launcher is: it starts the runs of a sweep, here or elsewhere."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from avi.errors import CheckpointError, ConfigError, DataError, NonFiniteError, ValidityError
from avi.launch.work import BUSY, ENDS_A_SWEEP, Attempt
from avi.process.terminal import say
from avi.results import facts
from avi.results.store import Files

Then = Literal["compare", "gap"]
# What ends in the same way at every attempt.
CERTAIN = (ConfigError, CheckpointError, NonFiniteError, DataError, ValidityError)


class Sweep(NamedTuple):
    """The runs of a sweep, and those of them that are to be started."""

    folder: Path
    runs: list[Path]
    due: list[Attempt]
    names: list[str]  # what to call those that are due
    num_workers: int | None  # side by side; None: as the launcher sees fit


class Ended(NamedTuple):
    """How a sweep ended."""

    codes: list[int | None]  # of each run that was due, None where it was not started
    followed: int = 0  # the exit code of what followed


class Launcher(Protocol):
    """Starts the runs of a sweep."""

    def start(self, sweep: Sweep) -> Ended | None:
        """Return how the runs ended; None: they go on elsewhere, and where has been said."""


@dataclass(frozen=True)
class Policy:
    """What every launcher does about a failure, and after the last run."""

    retry: int  # more attempts at a run that broke off
    fail_fast: bool  # start no further run once one has failed
    then: Then | None  # what follows when all have ended

    def __post_init__(self) -> None:
        if self.retry < 0:
            raise ValueError(f"retry must be 0 or more; got {self.retry}.")

    def tries_again(self, code: int, number: int) -> bool:
        """Say whether a run that ended with `code` at attempt `number`, from 1, is tried again."""
        certain = {error.exit_code for error in CERTAIN}
        return has_failed(code) and code not in certain and number <= self.retry

    def carried_out(self, attempt: Attempt, once: Callable[[Attempt], int]) -> int:
        """Work on a run by `once`, again where that may help, and return the last exit code."""
        number, code = 1, once(attempt)
        while self.tries_again(code, number):
            say(f"tried again after exit code {code}: {attempt.folder}")
            number, code = number + 1, once(attempt)
        return code

    def gives_up(self, code: int) -> bool:
        """Say whether a run that ended with `code` keeps the others from being started."""
        return self.fail_fast and has_failed(code)

    def following(self, sweep: Sweep, due: Sequence[Attempt]) -> list[list[Path]]:
        """Return the runs of each command that follows: all together, or each that was due."""
        if self.then is None:
            return []
        return [sweep.runs] if self.then == "compare" else [[run.path] for run in due]

    def ended(self, sweep: Sweep, codes: list[int | None]) -> Ended:
        """Let follow what follows, unless a signal came, and return how it all ended."""
        if self.then is None or set(codes) & set(ENDS_A_SWEEP):
            return Ended(codes)
        followed = [follow(self.then, runs) for runs in self.following(sweep, sweep.due)]
        return Ended(codes, next(filter(None, followed), 0))


def has_failed(code: int | None) -> bool:
    """Say whether an exit code is of a failure: what is busy, saved or not begun is none."""
    return code not in (None, 0, BUSY, *ENDS_A_SWEEP)


def follow(then: Then, runs: Sequence[Path]) -> int:
    """Compare those of the runs that are done, or measure the gap of each; return an exit code."""
    done = [str(run) for run in runs if _is_done(run)]
    if not done:
        say(f"launcher.then={then}: none of the runs is done.")
        return 0
    lines = [["compare", *done]] if then == "compare" else [["gap", f"run={run}"] for run in done]
    codes = [subprocess.call([sys.executable, "-m", "avi", *words]) for words in lines]
    return next(filter(None, codes), 0)


def _is_done(run: Path) -> bool:
    known = facts.read(Files(run))
    return known is not None and known.status == "done"
