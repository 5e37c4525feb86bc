"""Several runs side by side: their last numbers, what they cost, and which settings differ."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avi.errors import ConfigError
from avi.report import gap_page as gaps
from avi.report.files import (
    NAN,
    SPLITS,
    UNKNOWN,
    Curve,
    RunFiles,
    Value,
    estimate,
    is_run,
    lookup,
    number,
    read_run,
    splits,
    text,
)
from avi.report.wording import (
    choice,
    gap_name,
    is_amortized,
    is_incidental,
    objective_name,
    override_key,
)
from avi.settings import WITHOUT_EFFECT

_GROUPS = ("model", "inference", "family", "objective", "dataset")


@dataclass(frozen=True)
class Row:
    """One run in a comparison; bounds and gaps in nats per datapoint, costs as run.json states."""

    folder: Path
    label: str  # what tells its configuration apart from the others; runs that share it are seeds
    seed: float
    status: str
    inference: str
    amortized: bool
    bound_name: str
    bounds: Mapping[str, Value]  # split -> the last measurement
    gap_name: str
    gap: Value
    gap_split: str
    evidence: Value
    evidence_kind: str
    num_variational_parameters: float
    params_per_datapoint: float
    num_data: float
    new_kind: str
    new_gradient_evaluations: float
    new_milliseconds: float
    new_milliseconds_batch: float
    epochs: float
    seconds: float
    gradient_evaluations: float
    settings: Mapping[str, Any]  # flat configuration without what is incidental
    curves: Mapping[str, Curve]


@dataclass(frozen=True)
class Summary:
    """Several seeds of one configuration: means, and standard deviations over the runs."""

    label: str
    num_runs: int
    split: str
    bound: Value  # its second part, too, is a standard deviation over runs
    gap: Value


def collect(folders: Iterable[Path]) -> list[Row]:
    """Read every run among `folders`; a folder of runs, such as a sweep's, stands for its runs."""
    runs = [read_run(folder) for folder in _run_folders(folders)]
    for run in runs:
        if not run.facts:
            raise ConfigError(
                f"{run.folder} has no readable run.json, so it cannot be compared. "
                "Leave it out, or train it again."
            )
        if not any(curve.points for curve in run.curves.values()):
            raise ConfigError(
                f"{run.folder} has no metrics yet: metrics.jsonl is empty or missing. "
                "Let it train for a while, or leave it out."
            )
    settings = [_settings(run) for run in runs]
    labels = _labels(runs, settings)
    return [_row(*each) for each in zip(runs, settings, labels, strict=True)]


def held_out_split(rows: Sequence[Row]) -> str:
    """Return the split that every run measured last: test, else valid, else train."""
    for split in reversed(SPLITS):
        if all(row.bounds[split].known for row in rows):
            return split
    return "train"


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """Return mean and standard deviation over the runs of every label that has several."""
    split = held_out_split(rows)
    groups = [[row for row in rows if row.label == label] for label in _unique(rows)]
    return [
        Summary(
            label=group[0].label,
            num_runs=len(group),
            split=split,
            bound=mean_and_deviation([row.bounds[split].mean for row in group]),
            gap=mean_and_deviation([row.gap.mean for row in group]),
        )
        for group in groups
        if len(group) > 1
    ]


def mean_and_deviation(values: Sequence[float]) -> Value:
    """Return the mean and the sample standard deviation, UNKNOWN if any of the values is."""
    if not np.isfinite(values).all():
        return UNKNOWN
    return Value(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else NAN)


def _unique(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.label for row in rows))


def _run_folders(folders: Iterable[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if (folder / "comparison.csv").is_file() and not is_run(folder):
            continue  # of runs beside it: `avi compare outputs/train/*` names it too
        inside = sorted(child for child in _children(folder) if is_run(child))
        for run in [folder] if is_run(folder) or not inside else inside:
            found.setdefault(run.resolve(), run)
    if not found:
        raise ConfigError(
            "There is nothing to compare: name at least one run folder, "
            "for example `avi compare outputs/train/*`."
        )
    return list(found.values())


def _children(folder: Path) -> list[Path]:
    return [child for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []


def _row(run: RunFiles, settings: Mapping[str, Any], label: str) -> Row:
    measured = splits(run)
    split = next((name for name in ("test", "valid", "train") if name in measured), "")
    train = run.curves["train"].last or next(
        curve.last for curve in run.curves.values() if curve.last is not None
    )
    seconds = np.concatenate([curve.axis("seconds") for curve in run.curves.values()])
    seconds = seconds[np.isfinite(seconds)]
    return Row(
        folder=run.folder,
        label=label,
        seed=number(run.config, "seed"),
        status=text(run.facts, "status"),
        inference=choice(run, "inference"),
        amortized=is_amortized(run),
        bound_name=objective_name(run),
        bounds={
            name: curve.last.bound if curve.last is not None else UNKNOWN
            for name, curve in run.curves.items()
        },
        gap_name=gap_name(run),
        gap=gaps.gap_value(run, split),
        gap_split=split,
        evidence=estimate(measured.get(split), "evidence"),
        evidence_kind=text(measured.get(split), "evidence", "kind"),
        num_variational_parameters=number(run.facts, "num_variational_parameters"),
        params_per_datapoint=number(run.facts, "params_per_datapoint"),
        num_data=number(run.facts, "num_data"),
        new_kind=text(run.facts, "new_observation", "kind"),
        new_gradient_evaluations=number(run.facts, "new_observation", "gradient_evaluations"),
        new_milliseconds=number(run.facts, "new_observation", "milliseconds_one"),
        new_milliseconds_batch=number(run.facts, "new_observation", "milliseconds_batch"),
        epochs=train.epoch,
        seconds=float(seconds.max()) if seconds.size else NAN,
        gradient_evaluations=train.gradient_evaluations,
        settings=settings,
        curves=run.curves,
    )


def _settings(run: RunFiles) -> dict[str, Any]:
    apart = {*WITHOUT_EFFECT, "seed"}
    kept = {key: value for key, value in run.config.items() if key not in apart}
    # A component that was given the run's seed does not make another experiment of it.
    seed = run.setting("seed")
    flat = {
        key: value
        for key, value in _leaves(kept, "")
        if not (key.endswith(".seed") and value == seed)
    }
    # A configuration that cannot be read is taken by its words: better told apart too often.
    if not flat:
        flat = {"overrides": [word for word in _overrides(run) if not word.startswith("seed=")]}
    return flat


def _leaves(tree: Any, path: str) -> Iterable[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def _overrides(run: RunFiles) -> list[str]:
    words = run.fact("overrides")
    return [str(word) for word in words] if isinstance(words, list) else []


def _labels(runs: Sequence[RunFiles], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each run by the choices and overrides in which the runs differ, and no others."""
    groups = [
        group
        for group in _GROUPS
        if group == "inference" or len({choice(run, group) for run in runs}) > 1
    ]
    chosen = [[choice(run, group) for group in groups] for run in runs]
    keys = list(dict.fromkeys(key for run in runs for key in _override_keys(run)))
    for key in keys:
        shown = [_shown(run, key) for run in runs]
        if len(set(shown)) > 1:
            for words, value in zip(chosen, shown, strict=True):
                words.append(f"{key.rpartition('.')[2]}={value}" if value else f"no {key}")
    labels = [" ".join(filter(None, words)) or "run" for words in chosen]
    return _told_apart(labels, settings)


def _override_keys(run: RunFiles) -> Iterable[str]:
    for word in _overrides(run):
        key = override_key(word)
        if not is_incidental(word) and key != "seed" and key not in _GROUPS:
            yield key


def _shown(run: RunFiles, key: str) -> str:
    value = lookup(run.config, *key.split("."))
    if value is None or isinstance(value, Mapping):
        # A group (`experiment=mnist_vae`) is known by the word that was typed.
        typed = [word.partition("=")[2] for word in _overrides(run) if override_key(word) == key]
        return typed[-1] if typed else ""
    return Path(value).name if key == "train.start" else _compact(value)


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str).replace(" ", "")


def _told_apart(labels: list[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Add to labels that are shared by different configurations the settings that differ."""
    result = list(labels)
    for label in set(labels):
        sharing = [index for index, other in enumerate(labels) if other == label]
        differing = [
            key
            for key in dict.fromkeys(key for index in sharing for key in settings[index])
            if len({_compact(settings[index].get(key)) for index in sharing}) > 1
        ]
        for index in sharing:
            extra = [f"{key}={_compact(settings[index].get(key))}" for key in differing[:2]]
            result[index] = " ".join([label, *extra])
    return result
