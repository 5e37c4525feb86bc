"""A run folder as a reader finds it: every part optional, every damage noted, nothing executed."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from avi.datasets.formats import data_errors, read_all_npz
from avi.errors import ConfigError, DataError
from avi.rundir import atomic_write
from avi.rundir.bounded import TEXT_LIMIT, read_bounded, read_tree
from avi.rundir.files import resource_errors

SPLITS = ("train", "valid", "test")
NAN = float("nan")


class Value(NamedTuple):
    """A number in nats per datapoint and its standard error, NaN where unknown."""

    mean: float
    standard_error: float = NAN

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return bool(np.isfinite(self.mean))


UNKNOWN = Value(NAN)


class Measurement(NamedTuple):
    """One line of metrics.jsonl, with the seconds that timing.jsonl gives for it."""

    step: float
    epoch: float
    gradient_evaluations: float
    bound: Value
    num_points: float
    seconds: float
    documents: float = NAN  # training rows seen


Axis = Literal["epoch", "seconds", "gradient_evaluations", "documents"]


class Curve(NamedTuple):
    """The measurements of one split, in the order of their steps."""

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
        return np.array([point.bound.standard_error for point in self.points], float)

    @property
    def last(self) -> Measurement | None:
        """The final measurement, if there is any."""
        return self.points[-1] if self.points else None


class Pace(NamedTuple):
    """How far a run goes in one unit, NaN where unknown."""

    steps: float  # of an epoch
    rows: float  # of a step


@dataclass(frozen=True)
class RunFiles:
    """Everything that could be read of one run folder; a missing part is empty or None."""

    folder: Path
    config_text: str
    config: Mapping[str, Any]
    facts: Mapping[str, Any]  # run.json
    curves: Mapping[str, Curve]  # split -> curve
    gap: Mapping[str, Any] | None  # gap/summary.json
    gap_points: tuple[Mapping[str, str], ...]  # gap/points.csv
    snapshot: Mapping[str, np.ndarray]
    worst: Mapping[str, np.ndarray]  # gap/worst.npz: the worst-inferred observations themselves
    topics: Mapping[str, Any] | None  # topics.json
    compile_seconds: float
    damage: tuple[str, ...]  # one sentence for each file or line that could not be read

    def setting(self, *path: str) -> Any:
        """Return the value of one key of the resolved configuration, None where absent."""
        return lookup(self.config, *path)

    def fact(self, *path: str) -> Any:
        """Return one entry of run.json, None where absent."""
        return lookup(self.facts, *path)


def lookup(tree: Any, *path: str) -> Any:
    """Return the entry of nested mappings at `path`, None where there is none."""
    for key in path:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def number(tree: Any, *path: str) -> float:
    """Return the number at `path`, NaN where there is none: what others wrote is not trusted."""
    value = lookup(tree, *path)
    try:
        return float(value) if isinstance(value, int | float | str) else NAN
    except (ValueError, OverflowError):
        return NAN


def text(tree: Any, *path: str) -> str:
    """Return the entry at `path` as words, empty where there is none."""
    value = lookup(tree, *path)
    return value if isinstance(value, str) else ""


def estimate(tree: Any, *path: str) -> Value:
    """Return the {"mean", "se"} at `path` of a gap summary."""
    return Value(number(tree, *path, "mean"), number(tree, *path, "se"))


def splits(run: RunFiles) -> dict[str, Mapping[str, Any]]:
    """Return the summaries of the splits that the report looked at, in the order of the file."""
    found = lookup(run.gap, "splits") or {}
    return {str(name): tree for name, tree in found.items() if isinstance(tree, Mapping)}


def is_run(folder: Path) -> bool:
    """Say whether `folder` looks like a run folder."""
    return (folder / "run.json").is_file() or (folder / "config.yaml").is_file()


def read_run(folder: Path) -> RunFiles:
    """Read what there is of the run in `folder`; damage is noted, not raised."""
    if not is_run(folder):
        what = "has neither run.json nor config.yaml" if folder.is_dir() else "does not exist"
        raise ConfigError(
            f"{folder} is not a run folder: it {what}. "
            "Give the folder that `avi train` printed on its last line."
        )
    damage: list[str] = []
    config_text = _text(folder / "config.yaml", damage)
    gap = folder / "gap"
    timing = tuple(_lines(folder / "timing.jsonl", damage))
    compiling = [number(entry, "compile_seconds") for entry in timing if "compile_seconds" in entry]
    facts = _json(folder / "run.json", damage) or {}
    config = _config(folder / "config.yaml", damage)
    summary = _json(gap / "summary.json", damage)
    return RunFiles(
        folder=folder,
        config_text=config_text,
        config=config,
        facts=facts,
        curves=_curves(folder, _pace(facts, config), timing, damage),
        gap=summary if isinstance(lookup(summary, "splits"), Mapping) else None,
        gap_points=_table(gap / "points.csv", damage),
        snapshot=_arrays(folder / "snapshot.npz", damage),
        worst=_arrays(gap / "worst.npz", damage),
        topics=_json(folder / "topics.json", damage),
        compile_seconds=compiling[-1] if compiling else NAN,
        damage=tuple(damage),
    )


def write_atomically(path: Path, content: bytes | str) -> Path:
    """Write `content` beside `path` and rename it there, so that no reader meets half a file."""
    with resource_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content.encode("utf-8", "replace") if isinstance(content, str) else content)
    return path


def _text(path: Path, damage: list[str]) -> str:
    try:
        return read_bounded(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except ConfigError:
        damage.append(f"{path.name} could not be read and was left out.")
        return ""


def _json(path: Path, damage: list[str]) -> Mapping[str, Any] | None:
    content = _text(path, damage)
    if not content:
        return None
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, Mapping):
        damage.append(f"{path.name} is damaged and was left out.")
        return None
    return tree


def _config(path: Path, damage: list[str]) -> Mapping[str, Any]:
    try:
        return read_tree(path)
    except ConfigError:
        damage.append("config.yaml is missing or damaged.")
        return {}


def _lines(path: Path, damage: list[str]) -> Iterable[Mapping[str, Any]]:
    lines = [line for line in _text(path, damage).splitlines() if line.strip()]
    torn = 0
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, Mapping):
            yield entry
        else:
            torn += 1
    if torn:
        damage.append(f"{path.name} has {torn} torn of {len(lines)} lines, left out.")


def _pace(facts: Any, config: Any) -> Pace:
    whole = lookup(config, "train", "batch_size") is None  # all rows in every step
    rows = number(facts, "num_data") if whole else number(config, "train", "batch_size")
    return Pace(number(facts, "steps_per_epoch"), rows)


def _curves(
    folder: Path, pace: Pace, timing: Iterable[Mapping[str, Any]], damage: list[str]
) -> dict[str, Curve]:
    seconds = {
        (number(entry, "step"), text(entry, "split")): number(entry, "seconds") for entry in timing
    }
    # A resumed run may repeat a step: the line written last is the one that its state went through.
    met: dict[str, dict[float, Measurement]] = {split: {} for split in SPLITS}
    for entry in _lines(folder / "metrics.jsonl", damage):
        step, split = number(entry, "step"), text(entry, "split")
        if split not in met or not np.isfinite(step):
            continue
        met[split][step] = Measurement(
            step=step,
            epoch=step / pace.steps if pace.steps > 0 else number(entry, "epoch"),
            gradient_evaluations=number(entry, "gradient_evaluations"),
            bound=Value(number(entry, "value"), number(entry, "standard_error")),
            num_points=number(entry, "num_points"),
            seconds=seconds.get((step, split), NAN),
            documents=step * pace.rows,
        )
    return {split: Curve(tuple(met[split][step] for step in sorted(met[split]))) for split in met}


def _table(path: Path, damage: list[str]) -> tuple[Mapping[str, str], ...]:
    content = _text(path, damage)
    try:
        rows = tuple(csv.DictReader(content.splitlines()))
    except csv.Error:
        damage.append(f"{path.name} is damaged and was left out.")
        return ()
    return tuple({str(key): str(value) for key, value in row.items()} for row in rows)


def _arrays(path: Path, damage: list[str]) -> dict[str, np.ndarray]:
    try:
        content = read_bounded(path)
        with data_errors(str(path)):
            return read_all_npz(io.BytesIO(content), TEXT_LIMIT)
    except FileNotFoundError:
        return {}
    except (ConfigError, DataError):
        damage.append(f"{path.name} is damaged and was left out.")
        return {}
