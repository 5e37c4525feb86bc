"""What a run makes when its training is over: one thing each, from the state it ended in."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from avi.run.session import Session
from avi.rundir import RunDir
from avi.types import Params


class End(NamedTuple):
    """A run whose training is over."""

    session: Session
    params: Params
    run: RunDir
    stop: Callable[[], None]  # raises where the run is to stop


def nothing() -> None:
    """Find nothing wrong."""


class Made(NamedTuple):
    """What is to be said of a product once the run is done."""

    lines: Sequence[str] = ()  # for the terminal
    remarks: Sequence[str] = ()  # for run.json and the page
    verdict: Callable[[], None] = nothing  # raises where what was made contradicts itself


class Product(NamedTuple):
    """One thing a run makes at its end."""

    files: tuple[str, ...]  # that it writes; run.json is everybody's
    due: Callable[[Session], bool]
    make: Callable[[End], Made]
