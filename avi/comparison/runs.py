"""Which runs are compared, each with its last numbers and what it cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avi.comparison.labels import labels_of, settings_of
from avi.errors import ConfigError
from avi.results.comparison import COMPARISON, Compared
from avi.results.gap import EvidenceMean, Mean
from avi.results.metrics import Curve
from avi.results.parts import SplitParts
from avi.results.record import UNKNOWN, number, whole
from avi.results.run import Run, is_run, read
from avi.settings import SPLITS, Series, Split


@dataclass(frozen=True)
class Row(Compared):
    """One run in a comparison, with what its files say beyond the numbers that are written."""

    path: Path
    amortized: bool
    settings: Mapping[str, Any]  # flat configuration without what is incidental
    curves: Mapping[Series, Curve]
    # Per split: ELBO at the mode's lam and gap of the rows that the gap report measured.
    points: Mapping[str, Mapping[int, tuple[float, float]]]


def collect(folders: Iterable[Path]) -> tuple[list[Row], list[str]]:
    """Return every run among `folders`, and a sentence on each that has nothing to compare.

    A folder of runs, such as a sweep's, stands for its runs.

    Raises:
        ConfigError: none of them has anything to compare.
    """
    runs, lacking = _sorted_out(folders)
    if not runs:
        raise ConfigError(lacking[0])
    runs, again = _once(runs)
    lacking += again
    settings = settings_of(runs)
    labels = labels_of(runs, settings)
    rows = [_row(*each) for each in zip(runs, settings, labels, strict=True)]
    return rows, [f"Left out: {sentence}" for sentence in lacking]


def _sorted_out(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Return the runs that can be compared, and what the other folders lack."""
    runs, lacking = [], []
    for folder in _run_folders(folders):
        try:
            run = read(folder)
        except ConfigError as error:
            lacking.append(str(error))
            continue
        if lack := _lacks(run):
            lacking.append(f"{folder} {lack}.")
        else:
            runs.append(run)
    return runs, lacking


def _once(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Return one run of each settings, seed and data, a finished one first, and who is left out.

    The same run again says nothing of how another seed would have ended.
    """
    kept: dict[str, Run] = {}
    in_order = sorted(runs, key=lambda run: run.facts.status != "done")
    for run, settings in zip(in_order, settings_of(in_order), strict=True):
        facts = run.facts
        what = facts.data_sha256, facts.num_data, run.bound_name, run.setting("seed")
        key = repr((*what, sorted(settings.items())))
        kept.setdefault(key if facts.data_sha256 else str(run.folder), run)
    left = [run for run in runs if all(run is not one for one in kept.values())]
    words = [
        f"{run.folder} has the settings, seed and data of another of these runs." for run in left
    ]
    return [run for run in runs if run not in left], words


def _lacks(run: Run) -> str:
    """Return what a run needs to be compared and does not have."""
    if not run.facts.known:
        return "has no readable run.json: train it again"
    if not run.measured:
        ended = f" ({run.facts.status})" if run.facts.status else ""
        return f"has no metrics yet{ended}: metrics.jsonl is empty or missing"
    return ""


def _run_folders(folders: Iterable[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if (folder / COMPARISON).is_file() and not is_run(folder):
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


def _row(run: Run, settings: Mapping[str, Any], label: str) -> Row:
    facts, new = run.facts, run.facts.new_observation
    split = run.gap_split
    gap = run.splits[split].amortization_gap if split else Mean()
    last = next((name for name in reversed(SPLITS) if name in run.splits), None)
    evidence = run.splits[last].evidence if last else EvidenceMean()
    known = run.parts.splits if run.parts else {}
    made_of = next((known[name] for name in reversed(SPLITS) if name in known), SplitParts())
    lasts = {name: curve.last for name, curve in run.curves.items()}
    newest = lasts["batches"] or next(last for last in lasts.values() if last is not None)
    ends = {name: lasts[name] for name in SPLITS}
    bounds = {name: last.bound if last is not None else UNKNOWN for name, last in ends.items()}
    return Row(
        folder=str(run.folder),
        label=label,
        inference=run.choice("inference"),
        seed=whole(number(run.setting("seed"))),
        status=facts.status,
        bound_name=run.bound_name,
        **{f"{name}_bound": value.mean for name, value in bounds.items()},
        **{f"{name}_bound_se": value.se for name, value in bounds.items()},
        gap_name=run.gap_name,
        gap_split=split or "",
        gap=gap.mean,
        gap_se=gap.se,
        evidence=evidence.mean,
        evidence_se=evidence.se,
        evidence_kind=evidence.kind,
        reconstruction=made_of.reconstruction,
        kl=made_of.kl,
        active=made_of.active,
        num_variational_parameters=facts.num_variational_parameters,
        params_per_datapoint=facts.params_per_datapoint,
        num_data=facts.num_data,
        data_sha256=facts.data_sha256,
        likelihood=_likelihood(run),
        new_observation=new.kind,
        new_gradient_evaluations=new.gradient_evaluations,
        new_milliseconds_one=new.milliseconds_one,
        new_milliseconds_batch=new.milliseconds_batch,
        epochs=whole(newest.epoch),
        seconds=run.seconds,
        gradient_evaluations=newest.gradient_evaluations,
        path=run.folder,
        amortized=run.amortized,
        settings=settings,
        curves=run.curves,
        points={name: _points(run, name) for name in SPLITS},
    )


def _points(run: Run, split: Split) -> dict[int, tuple[float, float]]:
    return {
        int(point.row): (point.bound, point.amortization_gap)
        for point in run.points
        if point.split == split and math.isfinite(point.bound + point.amortization_gap)
    }


def _likelihood(run: Run) -> str:
    """Return the name of the likelihood that the model was given, empty where it has its own."""
    target = run.setting("model.likelihood._target_")
    return str(target).split(".")[-2] if target and "." in str(target) else ""
