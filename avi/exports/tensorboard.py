"""Bounds as TensorBoard's scalars: of a run that is done, and of one under way."""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from avi.exports.extra import imported
from avi.results.metrics import MetricsLine
from avi.results.record import Value
from avi.results.run import Run
from avi.rundir import atomic_write, make_folder

EXTRA = "tensorboard"
LIVE = "tensorboard"  # folder of a run that `live` writes to
FILE = "events.out.tfevents.avi"  # TensorBoard looks for the first three words
SECONDS = 5  # between two writes of a live file


def writer_class(asked: str) -> Any:
    """Return tensorboardX's SummaryWriter; a ConfigError names the extra where it is missing."""
    return imported("tensorboardX", EXTRA, asked).SummaryWriter


@contextmanager
def live(folder: Path) -> Iterator[Callable[[MetricsLine], None]]:
    """Take the lines of metrics.jsonl as a run writes them, into `folder`/tensorboard.

    TensorBoard leaves out what an earlier start wrote behind the step at which this one goes on.
    """
    writer = None

    def log(line: MetricsLine) -> None:
        nonlocal writer
        if writer is None:
            make = writer_class("train.log=tensorboard")
            writer = make(str(folder / LIVE), purge_step=int(line.step), flush_secs=SECONDS)
        _add(writer, line.split, int(line.step), Value(line.value, line.standard_error), None)

    try:
        yield log
    finally:
        if writer is not None:
            writer.close()


def write(folder: Path, run: Run) -> Path:
    """Write one file of events to `folder`, in place of an earlier one, and return its path.

    Tags: bound/<split> and bound_se/<split> by step, gap/<split> and gap_se/<split> at the last
    step; nats per datapoint. A moment is that of the run's first start and its seconds of training.
    """
    make = writer_class("to=tensorboard")
    make_folder(folder)
    begun, last = _begun(run), 0
    with tempfile.TemporaryDirectory(prefix="avi-events-") as place:
        with make(place) as writer:
            for split, curve in run.curves.items():
                for point in curve.points:
                    passed = point.seconds if math.isfinite(point.seconds) else 0.0
                    _add(writer, split, int(point.step), point.bound, begun + passed)
                    last = max(last, int(point.step))
            for split, one in run.splits.items():
                gap = one.amortization_gap
                _add(writer, split, last, Value(gap.mean, gap.se), begun, "gap")
        (events,) = Path(place).iterdir()
        content = events.read_bytes()
    atomic_write(folder / FILE, content)
    return folder / FILE


def _add(
    writer: Any, split: str, step: int, value: Value, moment: float | None, name: str = "bound"
) -> None:
    """Add a number and its standard error, each where it is known."""
    for tag, number in ((f"{name}/{split}", value.mean), (f"{name}_se/{split}", value.se)):
        if math.isfinite(number):
            writer.add_scalar(tag, number, step, walltime=moment)


def _begun(run: Run) -> float:
    """Return when the run first started, in seconds since 1970; 0 where that is not known."""
    try:
        return datetime.fromisoformat(str(run.facts.starts[0]["time"])).timestamp()
    except (IndexError, KeyError, ValueError):
        return 0.0
