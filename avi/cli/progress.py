"""The runs of a sweep, those that wait included: what `avi status` says of each."""

import math
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avi.cli.overview import Listed, ago, folders_in, line_of
from avi.launch.work import ENDS_A_SWEEP, lives
from avi.process.grammar import many
from avi.report.wording import MISSING, plus_minus, printable
from avi.results import jobs
from avi.results.jobs import Attempted, Known, Submission
from avi.results.record import NAN, UNKNOWN, Count, Value, number, whole
from avi.results.run import is_run, read

State = Literal["waiting", "running", "done", "preempted", "failed"]
STATES: tuple[State, ...] = ("running", "waiting", "preempted", "failed", "done")
ENDED: dict[str, State] = {"done": "done", "interrupted": "preempted", "failed": "failed"}


@dataclass(frozen=True)
class Progress:
    """One run of a sweep; the bound in nats per datapoint, NaN where not known."""

    run: str  # its folder
    state: State
    reason: str  # why it failed, or was not begun
    epoch: Count
    epochs: Count  # of the whole training
    bound_name: str
    split: str  # of the bound: test, else valid, else train, else batches
    bound: float
    bound_se: float
    age: float  # seconds since it last wrote, or was asked for
    host: str  # where it was last worked on
    job: str  # id on the cluster


def progress(roots: Iterable[Path]) -> list[Progress]:
    """Return the runs in and under folders, and those that their sweeps were asked for."""
    runs, sweeps = folders_in(roots)
    known = {sweep / name: one for sweep in sweeps for name, one in jobs.read(sweep).items()}
    found = dict.fromkeys([*runs, *known])
    return [_progress(run, known.get(run, Known(None, None))) for run in sorted(found)]


def _progress(folder: Path, known: Known) -> Progress:
    run = read(folder) if is_run(folder) else None
    line = None if run is None else line_of(run)
    last, asked = known.attempted or Attempted(), known.submission or Submission()
    start = run.facts.starts[-1] if run is not None and run.facts.starts else {}
    host = last.host or str(start.get("host", ""))
    state, reason = _state(line, last, _waits(line, last, asked), host)
    if state == "failed":
        reason = reason or str(start.get("reason", "")) or "It does not say why."
    batches = None if run is None else run.curves["batches"].last
    epoch = NAN if batches is None else batches.epoch
    split, bound = ("", UNKNOWN) if line is None else (line.split, line.bound_value)
    if batches is not None and not bound.known:
        split, bound = "batches", batches.bound
    heard = max(filter(math.isfinite, (asked.asked, last.began, last.ended)), default=NAN)
    return Progress(
        run=str(folder),
        state=state,
        reason=reason,
        epoch=math.floor(epoch) if math.isfinite(epoch) else NAN,
        epochs=NAN if run is None else whole(number(run.setting("train.epochs"))),
        bound_name="" if line is None else line.bound_name,
        split=split,
        bound=bound.mean,
        bound_se=bound.se,
        age=time.time() - heard if line is None else line.age,
        host=host,
        job=last.job or asked.job,
    )


def _waits(line: Listed | None, last: Attempted, asked: Submission) -> bool:
    """Say whether nothing has happened to a run since a launcher was asked for it."""
    written = -math.inf if line is None else time.time() - line.age
    return math.isfinite(asked.asked) and last.asked != asked.asked and written < asked.asked


def _state(line: Listed | None, last: Attempted, waits: bool, host: str) -> tuple[State, str]:
    """Return the state of a run and a reason for it, where there is one."""
    of_folder = "new" if line is None else line.state
    left_out = math.isfinite(last.ended) and not math.isfinite(last.exit_code)
    if of_folder == "running":
        return "running", ""
    if waits or left_out:
        return "waiting", "" if waits else last.reason
    if of_folder in ENDED:
        return ENDED[of_folder], last.reason if of_folder == "failed" else ""
    if math.isfinite(last.exit_code):
        return ("preempted", "") if last.exit_code in ENDS_A_SWEEP else ("failed", last.reason)
    if of_folder == "new" and not math.isfinite(last.began):
        return "waiting", ""
    elsewhere = host not in ("", socket.gethostname())  # where no lock may be seen from here
    if elsewhere or (math.isfinite(last.pid) and lives(int(last.pid))):
        return "running", ""
    return "failed", "The process that worked on it is gone."


def words(runs: Sequence[Progress], root: Path) -> list[str]:
    """Return a line of text for each run, its place under `root` at the end, and the total."""
    columns = list(zip(*(_cells(one, root) for one in runs), strict=True))
    widths = [max(map(len, column)) for column in columns]
    aligned = [
        [cell.ljust(n) for cell in column] for column, n in zip(columns, widths, strict=True)
    ]
    lines = ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]
    counts = Counter(one.state for one in runs)
    total = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return [*lines, f"{many(len(runs), 'run')}: {total}"]


def _cells(one: Progress, root: Path) -> list[str]:
    epoch, epochs = (f"{n:.0f}" if math.isfinite(n) else MISSING for n in (one.epoch, one.epochs))
    bound = Value(one.bound, one.bound_se)
    place = " ".join(filter(None, (one.host, one.job and f"job {one.job}")))
    said = f"{os.path.relpath(one.run, root)}{f': {one.reason}' if one.reason else ''}"
    return [
        one.state,
        f"epoch {epoch}/{epochs}",
        f"{one.split} {one.bound_name} {plus_minus(bound)}" if bound.known else MISSING,
        ago(one.age),
        printable(place) or MISSING,
        printable(" ".join(said.split())),
    ]
