"""The folder .jobs of a sweep: which runs were asked for, and how the last attempt at each went."""

import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from avi.results.record import NAN, Count, plain, restored
from avi.results.store import Files, write_atomically
from avi.rundir import make_folder
from avi.rundir.files import encode
from avi.rundir.records import append_lines

FOLDER = ".jobs"  # hidden: `avi compare <sweep>/*` is of runs alone
SUBMITTED = "submitted.jsonl"


@dataclass(frozen=True)
class Submission:
    """A line of submitted.jsonl: a run that a launcher was asked to start."""

    run: str = ""  # name of its folder in the sweep
    asked: float = NAN  # when, in seconds since 1970; the same for all runs of one command
    launcher: str = ""  # pool, or the cluster
    job: str = ""  # id on the cluster


@dataclass(frozen=True)
class Attempted:
    """<run>.json: the last attempt at a run; what has not happened yet is unknown."""

    asked: float = NAN  # of the command that it belongs to
    host: str = ""
    pid: Count = NAN
    job: str = ""  # id on the cluster
    began: float = NAN  # seconds since 1970
    ended: float = NAN
    exit_code: Count = NAN  # unknown of an attempt that has ended: it was not begun
    reason: str = ""  # why it failed, or was not begun


class Known(NamedTuple):
    """What .jobs holds of one run."""

    submission: Submission | None
    attempted: Attempted | None


def submitted(sweep: Path, submissions: Iterable[Submission]) -> None:
    """Append what a launcher was asked for."""
    make_folder(sweep / FOLDER)
    append_lines(sweep / FOLDER / SUBMITTED, [plain(one) for one in submissions])


def began(run: Path, asked: float, job: str) -> None:
    """Record that this process begins an attempt at the run in a folder."""
    host, pid = socket.gethostname(), os.getpid()
    _write(run, Attempted(asked, host, pid, job, began=time.time()))


def ended(run: Path, exit_code: int, reason: str) -> None:
    """Record how the attempt ended."""
    before = attempted(run) or Attempted()
    _write(run, replace(before, ended=time.time(), exit_code=exit_code, reason=reason))


def left_out(run: Path, asked: float, reason: str) -> None:
    """Record that no attempt is made, and why."""
    _write(run, Attempted(asked, ended=time.time(), reason=reason))


def attempted(run: Path) -> Attempted | None:
    """Return the last attempt at the run in a folder, None if there is none."""
    tree = Files(run.parent).json(f"{FOLDER}/{run.name}.json")
    return restored(Attempted, tree) if tree else None


def submissions(sweep: Path) -> list[Submission]:
    """Return what launchers were asked for in a sweep, in that order."""
    lines = Files(sweep).lines(f"{FOLDER}/{SUBMITTED}")
    return [restored(Submission, line) for line in lines]


def read(sweep: Path) -> dict[str, Known]:
    """Return what is known of each run by the name of its folder; the last submission counts."""
    last = {one.run: one for one in submissions(sweep) if one.run == Path(one.run).name != ""}
    names = [*last, *sorted(path.stem for path in (sweep / FOLDER).glob("*.json"))]
    return {name: Known(last.get(name), attempted(sweep / name)) for name in names}


def _write(run: Path, attempt: Attempted) -> None:
    path = run.parent / FOLDER / f"{run.name}.json"
    write_atomically(path, encode(plain(attempt)) + "\n")
