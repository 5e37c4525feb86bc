"""metrics.jsonl and timing.jsonl: bounds in nats per datapoint, and the seconds they stand at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from avi.errors import ConfigError
from avi.results.record import NAN, UNKNOWN, Count, Value, plain, restored
from avi.results.store import Files
from avi.rundir import RunDir
from avi.settings import SERIES, Series


@dataclass(frozen=True)
class MetricsLine:
    """One line of metrics.jsonl: a mean bound over `num_points` rows, and its standard error.

    `split` is whose rows were scored at the parameters of that step, or "batches" for the mean over
    minibatches since the line before, while the parameters moved. `certificate` is what the
    searches for rows outside a mode's table still lack, at the end of a run of such a mode.
    """

    step: Count
    epoch: Count
    split: Series
    gradient_evaluations: Count
    value: float
    standard_error: float
    num_points: Count
    certificate: float = NAN
    certificate_se: float = NAN


@dataclass(frozen=True)
class TimingLine:
    """One line of timing.jsonl: seconds of training up to a line of metrics.jsonl."""

    step: Count
    split: Series
    seconds: float


@dataclass(frozen=True)
class CompileLine:
    """The line of timing.jsonl that every start begins with."""

    compile_seconds: float


def append(run: RunDir, lines: Iterable[MetricsLine], seconds: float) -> None:
    """Append lines, and the seconds of training so far for each."""
    lines = list(lines)
    run.append_metrics(plain(line) for line in lines)
    moment = round(seconds, 4)
    run.append_timing(plain(TimingLine(line.step, line.split, moment)) for line in lines)


def append_compilation(run: RunDir, seconds: float) -> None:
    """Append how long compiling took."""
    run.append_timing([plain(CompileLine(round(seconds, 4)))])


def measured(run: RunDir) -> list[MetricsLine]:
    """Return all lines of metrics.jsonl.

    Raises:
        ConfigError: a line that no run wrote: somebody else may have written the older ones.
    """
    lines = run.metrics()
    for place, line in enumerate(lines, start=1):
        numbers = [line.get(name) for name in ("step", "value")]
        error = line.get("standard_error")  # null of a single row
        sound = all(type(n) in (int, float) for n in numbers) and type(error) in (
            int, float, type(None),
        )  # fmt: skip
        if line.get("split") not in SERIES or not sound:
            raise ConfigError(
                f"{run.metrics_path}, line {place}: expected a step, a split, a value and its "
                "standard_error."
            )
    return _named(restored(MetricsLine, line) for line in lines)


class Measurement(NamedTuple):
    """One line of metrics.jsonl, with the seconds that timing.jsonl gives for it."""

    step: float
    epoch: float
    gradient_evaluations: float
    bound: Value
    num_points: float
    seconds: float
    documents: float = NAN  # training rows seen
    certificate: Value = UNKNOWN  # of the searches for these rows


Axis = Literal["epoch", "seconds", "gradient_evaluations", "documents"]


class Curve(NamedTuple):
    """The measurements of one split, or of minibatches, in the order of their steps."""

    points: tuple[Measurement, ...] = ()

    def axis(self, name: Axis) -> np.ndarray:
        """Return the horizontal coordinate `name` of every point, float[points]."""
        return np.array([getattr(point, name) for point in self.points], float)

    @property
    def means(self) -> np.ndarray:
        """The bound at every point, float[points]."""
        return np.array([point.bound.mean for point in self.points], float)

    @property
    def standard_errors(self) -> np.ndarray:
        """The standard error of the bound at every point, float[points]."""
        return np.array([point.bound.se for point in self.points], float)

    @property
    def last(self) -> Measurement | None:
        """The final measurement, if there is any."""
        return self.points[-1] if self.points else None


def columns(curves: Mapping[Series, Curve]) -> dict[str, list[Any]]:
    """Return all measurements by column: nats per datapoint, seconds of training."""
    lines = [(split, point) for split, curve in curves.items() for point in curve.points]
    return {
        "split": [split for split, _ in lines],
        "step": [point.step for _, point in lines],
        "epoch": [point.epoch for _, point in lines],
        "seconds": [point.seconds for _, point in lines],
        "gradient_evaluations": [point.gradient_evaluations for _, point in lines],
        "bound": [point.bound.mean for _, point in lines],
        "bound_se": [point.bound.se for _, point in lines],
        "num_points": [point.num_points for _, point in lines],
    }


class Pace(NamedTuple):
    """How far a run goes in one unit, NaN where unknown."""

    steps: float  # of an epoch
    rows: float  # of a step


def read(files: Files, pace: Pace) -> tuple[dict[Series, Curve], float]:
    """Return the curves, and the seconds that the last start compiled for."""
    timing = list(files.lines("timing.jsonl"))
    compiling = [restored(CompileLine, line) for line in timing if "compile_seconds" in line]
    times = [restored(TimingLine, line) for line in timing]
    curves = _curves(files, pace, {(line.step, line.split): line.seconds for line in times})
    return curves, compiling[-1].compile_seconds if compiling else NAN


def _curves(
    files: Files, pace: Pace, seconds: Mapping[tuple[float, str], float]
) -> dict[Series, Curve]:
    # A resumed run may repeat a step: the line written last is the one that its state went through.
    met: dict[Series, dict[float, Measurement]] = {name: {} for name in SERIES}
    for line in _named(restored(MetricsLine, entry) for entry in files.lines("metrics.jsonl")):
        if line.split not in met or not np.isfinite(line.step):
            continue
        met[line.split][line.step] = Measurement(
            step=line.step,
            epoch=line.step / pace.steps if pace.steps > 0 else line.epoch,
            gradient_evaluations=line.gradient_evaluations,
            bound=Value(line.value, line.standard_error),
            num_points=line.num_points,
            seconds=seconds.get((line.step, line.split), NAN),
            documents=line.step * pace.rows,
            certificate=Value(line.certificate, line.certificate_se),
        )
    return {split: Curve(tuple(met[split][step] for step in sorted(met[split]))) for split in met}


def _named(lines: Iterable[MetricsLine]) -> list[MetricsLine]:
    """Return the lines; runs of avi 0.1 called the means over minibatches train."""
    found, older = [], True
    for line in lines:
        older &= line.split != "batches"
        renamed = older and line.split == "train" and line.step > 0
        found.append(replace(line, split="batches") if renamed else line)
    return found
