"""The runs under a folder, a line each, and what tells two of them apart."""

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avi.report.run_page import final_bound
from avi.report.runs import settings_of
from avi.report.wording import MISSING, plus_minus
from avi.results.gap import Mean
from avi.results.record import NAN, UNKNOWN, Value
from avi.results.run import Run, is_run, read
from avi.settings import SPLITS

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


def listed(folders: Iterable[Path], conditions: Iterable[tuple[str, str]] = ()) -> list[Listed]:
    """Return the runs in and under `folders` whose settings meet all conditions (key, value)."""
    conditions = list(conditions)
    runs = (read(folder) for folder in _run_folders(folders))
    return [_line(run) for run in runs if all(_has(run, *one) for one in conditions)]


def _run_folders(folders: Iterable[Path]) -> Iterator[Path]:
    seen = set()
    for root in folders:
        for name, inside, _ in os.walk(root):
            folder = Path(name)
            inside.sort()
            if is_run(folder):
                inside.clear()
                if folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    yield folder


def _has(run: Run, key: str, value: str) -> bool:
    return value in (run.choice(key), _word(run.setting(key)))


def _word(value: Any) -> str:
    """Return a setting as one types it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _line(run: Run) -> Listed:
    split, bound = final_bound(run)
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
        bound = f"{line.split} {line.bound_name} {plus_minus(_known(line.bound_value))}"
        gap = f"gap {plus_minus(_known(line.gap_value))}"
        said.append(f"{os.path.relpath(line.run, root)}  {made_of}")
        said.append(f"  {line.state:12}{bound:30}{gap:24}{_ago(line.age)}".rstrip())
    return said


def _known(value: Value) -> Value | None:
    return value if value.known else None


def _ago(seconds: float) -> str:
    """Return an age in one unit."""
    if not math.isfinite(seconds):
        return ""
    units = ((DAY, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
    size, unit = next((one for one in units if seconds >= 2 * one[0]), units[-1])
    return f"{seconds / size:.0f} {unit}"


@dataclass(frozen=True)
class Difference:
    """A setting or a number of two runs."""

    what: str
    first: str
    other: str


def differences(first: Path, other: Path) -> list[Difference]:
    """Return the settings in which two runs differ, then the numbers of both.

    Raises:
        ConfigError: one of them is not a run folder.
    """
    runs = read(first), read(other)
    choices, settings = _choices(*runs), [settings_of(run) for run in runs]
    for run, own in zip(runs, settings, strict=True):
        own["seed"] = run.setting("seed")
    keys = [
        key
        for key in dict.fromkeys([*settings[0], *settings[1]])
        if settings[0].get(key) != settings[1].get(key) and not _of_choice(key, choices, settings)
    ]
    return [
        *(Difference(group, *chosen) for group, chosen in choices.items()),
        *(Difference(key, *(_word(own.get(key)) for own in settings)) for key in keys),
        *(Difference(name, *map(plus_minus, values)) for name, values in _numbers(*runs)),
    ]


def _choices(*runs: Run) -> dict[str, tuple[str, ...]]:
    """Return the groups in which the runs chose otherwise, and what each chose."""
    groups = dict.fromkeys(group for run in runs for group in run.facts.choices)
    found = {group: tuple(run.choice(group) or MISSING for run in runs) for group in groups}
    return {group: chosen for group, chosen in found.items() if len(set(chosen)) > 1}


def _of_choice(key: str, choices: Iterable[str], settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a key comes with a choice that is shown already: its class, or a key of one alone."""
    alone = not all(key in own for own in settings)
    return key.endswith("_target_") or (alone and any(key.startswith(f"{g}.") for g in choices))


def _numbers(*runs: Run) -> Iterator[tuple[str, list[Value | None]]]:
    for split in SPLITS:
        lasts = [run.curves[split].last for run in runs]
        bounds = [_known(last.bound) if last is not None else None for last in lasts]
        if any(bounds):
            yield f"{split} {runs[0].bound_name}", bounds
        found = [run.splits.get(split) for run in runs]
        gaps = [Value(*_ends(one.amortization_gap)) if one else UNKNOWN for one in found]
        if any(gap.known for gap in gaps):
            names = dict.fromkeys(run.gap_name for run in runs)
            yield f"{split} {' / '.join(names)}", [_known(gap) for gap in gaps]


def _ends(mean: Mean) -> tuple[float, float]:
    return mean.mean, mean.se
