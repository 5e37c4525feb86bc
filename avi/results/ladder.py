"""gap/ladder.json: what the best q of each of several families would buy on the same rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avi.results.record import NAN, Count, Interval, Value, plain, restored, table
from avi.results.store import Files, write_atomically

LADDER, LADDER_ROWS = "gap/ladder.json", "gap/ladder.csv"


@dataclass(frozen=True)
class Rung:
    """One family on the rows of one split; nats per datapoint."""

    split: str
    family: str
    params_per_datapoint: Count
    shared_weights: Count  # trained on these rows, for all of them
    n: Count
    converged: Count
    bound: float  # the ELBO at lam*, on draws that all families share
    bound_se: float
    gain: float = NAN  # over the family before it
    gain_se: float = NAN
    gain_interval: Interval = None
    holds: str = ""  # the family that this one holds, whose best member it cannot be below
    below: Count = NAN  # rows on which it is, beyond their noise
    left: float = NAN  # log p(x) - bound
    left_se: float = NAN
    evidence_kind: str = ""  # of that log p(x)
    gradient_evaluations: float = NAN  # per row
    milliseconds: float = NAN  # per row, of a search in lanes, compilation included

    @property
    def bound_value(self) -> Value:
        """The mean bound."""
        return Value(self.bound, self.bound_se)

    @property
    def gain_value(self) -> Value:
        """The mean gain over the family before it."""
        return Value(self.gain, self.gain_se)

    @property
    def left_value(self) -> Value:
        """What is left to log p(x)."""
        return Value(self.left, self.left_se)


@dataclass(frozen=True)
class Ladder:
    """All rungs, split by split, in the order that was asked for."""

    rungs: tuple[Rung, ...] = ()


@dataclass(frozen=True)
class RowOfRung:
    """One row under one family."""

    row: int
    split: str
    family: str
    bound: float
    bound_se: float
    certificate: float
    certificate_se: float
    converged: bool | None
    ending: str  # of the search
    gradient_evaluations: float


def write(folder: Path, ladder: Ladder, rows: Sequence[RowOfRung]) -> None:
    """Write both files of the run in `folder`."""
    (folder / "gap").mkdir(parents=True, exist_ok=True)
    write_atomically(folder / LADDER_ROWS, table(RowOfRung, rows))
    write_atomically(folder / LADDER, json.dumps(plain(ladder), indent=1) + "\n")


def remove(folder: Path) -> None:
    """Remove both files of the run in `folder`, if they are there."""
    for name in (LADDER, LADDER_ROWS):
        (folder / name).unlink(missing_ok=True)


def read(files: Files) -> Ladder:
    """Return the rungs that can be read, none where no ladder was climbed."""
    tree = files.json(LADDER)
    ladder = restored(Ladder, tree) if tree else Ladder()
    return replace(ladder, rungs=tuple(one for one in ladder.rungs if one.bound_value.known))
