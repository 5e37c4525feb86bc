"""What tells two runs apart: what `avi diff` says of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avi.comparison.labels import as_typed, settings_of
from avi.report.wording import MISSING, plus_minus
from avi.results.gap import Mean
from avi.results.record import UNKNOWN, Value
from avi.results.run import Run, read
from avi.settings import SPLITS


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
    choices, settings = _choices(*runs), settings_of(runs)
    for run, own in zip(runs, settings, strict=True):
        own["seed"] = run.setting("seed")
    keys = [
        key
        for key in dict.fromkeys([*settings[0], *settings[1]])
        if settings[0].get(key) != settings[1].get(key) and not _of_choice(key, choices, settings)
    ]
    return [
        *(Difference(group, *chosen) for group, chosen in choices.items()),
        *(Difference(key, *(as_typed(own.get(key)) for own in settings)) for key in keys),
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


def _numbers(*runs: Run) -> Iterator[tuple[str, list[Value | Mean]]]:
    """Yield the bounds and the gaps that any of the runs has."""
    gap_names = " / ".join(dict.fromkeys(run.gap_name for run in runs))
    for split in SPLITS:
        lasts = [run.curves[split].last for run in runs]
        measured = [run.splits.get(split) for run in runs]
        bounds: list[Value | Mean] = [UNKNOWN if last is None else last.bound for last in lasts]
        gaps: list[Value | Mean] = [one.amortization_gap if one else UNKNOWN for one in measured]
        for name, values in ((runs[0].bound_name, bounds), (gap_names, gaps)):
            if any(value.known for value in values):
                yield f"{split} {name}", values
