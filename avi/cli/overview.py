"""The runs under a folder: what `avi runs` says of each."""

import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avi.comparison.labels import as_typed
from avi.errors import ConfigError
from avi.launch.places import output_root
from avi.report.wording import MISSING, plus_minus
from avi.results import jobs
from avi.results.record import NAN, UNKNOWN, Value
from avi.results.run import Run, is_run, read

DAY = 86400.0


@dataclass(frozen=True)
class Listed:
    """One run; bound and gap in nats per datapoint, NaN where not known."""

    run: str  # its folder
    state: str  # done, running, killed, interrupted, failed, or new before its first step
    model: str
    inference: str
    dataset: str
    bound_name: str
    split: str  # of the bound: test, else valid, else train
    bound: float
    bound_se: float
    gap: float
    gap_se: float
    age: float  # seconds since it last wrote

    @property
    def bound_value(self) -> Value:
        """The bound and its standard error."""
        return Value(self.bound, self.bound_se)

    @property
    def gap_value(self) -> Value:
        """The gap and its standard error."""
        return Value(self.gap, self.gap_se)


def roots_of(folders: Iterable[str], command: str) -> list[Path]:
    """Return the folders that were named, where runs go if none was.

    Raises:
        ConfigError: one of them is not there.
    """
    roots = [Path(folder) for folder in folders] or [output_root()]
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"There is no folder {root}. Try avi {command} <folder of runs>.")
    return roots


def listed(folders: Iterable[Path], conditions: Iterable[tuple[str, str]] = ()) -> list[Listed]:
    """Return the runs in and under `folders` whose settings meet all conditions (key, value)."""
    conditions = list(conditions)
    runs = (read(folder) for folder in folders_in(folders)[0])
    return [line_of(run) for run in runs if all(_has(run, *one) for one in conditions)]


def folders_in(roots: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the folders of the runs in and under `roots`, and those of sweeps."""
    runs: dict[Path, Path] = {}  # none twice, whatever leads there
    sweeps: dict[Path, Path] = {}
    for root in roots:
        for name, inside, _ in os.walk(root):
            folder = Path(name)
            inside.sort()
            if jobs.FOLDER in inside:
                inside.remove(jobs.FOLDER)
                sweeps.setdefault(folder.resolve(), folder)
            if is_run(folder):
                inside.clear()
                runs.setdefault(folder.resolve(), folder)
    return list(runs.values()), list(sweeps.values())


def _has(run: Run, key: str, value: str) -> bool:
    return value in (run.choice(key), as_typed(run.setting(key)))


def line_of(run: Run) -> Listed:
    """Return what is said of a run."""
    split, bound = run.final_bound
    gap = run.splits[run.gap_split].amortization_gap if run.gap_split else UNKNOWN
    return Listed(
        run=str(run.folder),
        state=_state(run),
        model=run.choice("model"),
        inference=run.choice("inference"),
        dataset=run.choice("dataset"),
        bound_name=run.bound_name,
        split=split or "",
        bound=bound.mean,
        bound_se=bound.se,
        gap=gap.mean,
        gap_se=gap.se,
        age=_age(run.folder),
    )


def _state(run: Run) -> str:
    status = run.facts.status or "new"
    return "killed" if status == "running" and not run.under_way else status


def _age(folder: Path) -> float:
    files = [folder / name for name in ("run.json", "metrics.jsonl", "config.yaml")]
    newest = max((path.stat().st_mtime for path in files if path.is_file()), default=NAN)
    return time.time() - newest


def ordered(lines: Iterable[Listed], by: str) -> list[Listed]:
    """Return the lines by one field: largest bound first, else smallest; what is unknown last."""

    def key(line: Listed) -> tuple[bool, Any]:
        value = getattr(line, by)
        if isinstance(value, str):
            return value == "", value
        return not math.isfinite(value), -value if by == "bound" else value

    return sorted(lines, key=key)


def words(lines: Sequence[Listed], root: Path) -> list[str]:
    """Return two lines of text for each run, the first its place under `root`."""
    said = []
    for line in lines:
        made_of = ", ".join(name or MISSING for name in (line.model, line.inference, line.dataset))
        bound = f"{line.split} {line.bound_name} {plus_minus(line.bound_value)}"
        gap = f"gap {plus_minus(line.gap_value)}"
        said.append(f"{os.path.relpath(line.run, root)}  {made_of}")
        said.append(f"  {line.state:12}{bound:30}{gap:24}{ago(line.age)}".rstrip())
    return said


def ago(seconds: float) -> str:
    """Return an age in one unit."""
    if not math.isfinite(seconds):
        return ""
    units = ((DAY, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
    size, unit = next((one for one in units if seconds >= 2 * one[0]), units[-1])
    return f"{seconds / size:.0f} {unit}"
