"""gap/against.json: how well numbers of a report tell other rows from the run's own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avi.results.record import Count, Interval, Value, plain, restored, table
from avi.results.store import Files, write_atomically

AGAINST, AGAINST_ROWS = "gap/against.json", "gap/against.csv"


@dataclass(frozen=True)
class Score:
    """One number of every row, turned so that the larger says that a row is not the run's own."""

    name: str
    auroc: float  # share of pairs, one row of each side, in which the other's is larger
    interval: Interval  # 95 %


@dataclass(frozen=True)
class Against:
    """Other rows beside those of one split."""

    data: str  # the name of the other rows
    split: str  # whose rows stand for the run's own
    n: Count  # other rows
    n_own: Count
    converged: Count  # of the other rows
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True)
class OtherRow:
    """One of the other rows, in nats."""

    row: int  # in the person's file, counted from 0
    bound: float  # at the mode's own lam
    bound_star: float  # at lam*
    bound_star_se: float  # Monte Carlo error
    regret: float  # their difference: the gap, the likelihood regret of the literature
    certificate: float
    converged: bool | None
    flags: str

    @property
    def bound_star_value(self) -> Value:
        """The bound at lam*."""
        return Value(self.bound_star, self.bound_star_se)


def write(folder: Path, against: Against, rows: Sequence[OtherRow]) -> None:
    """Write both files of the run in `folder`."""
    write_atomically(folder / AGAINST_ROWS, table(OtherRow, rows))
    write_atomically(folder / AGAINST, json.dumps(plain(against), indent=1) + "\n")


def remove(folder: Path) -> None:
    """Remove both files of the run in `folder`, if they are there."""
    for name in (AGAINST, AGAINST_ROWS):
        (folder / name).unlink(missing_ok=True)


def read(files: Files) -> Against | None:
    """Return the comparison, None where there is none or nothing of it can be read."""
    tree = files.json(AGAINST)
    if not tree:
        return None
    found = restored(Against, tree)
    known = tuple(one for one in found.scores if 0 <= one.auroc <= 1)
    return replace(found, scores=known) if known else None


def read_rows(files: Files) -> tuple[OtherRow, ...]:
    """Return the rows that can be read."""
    return tuple(restored(OtherRow, line) for line in files.rows(AGAINST_ROWS))
