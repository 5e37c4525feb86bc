"""Where runs go, and which of them are new, begun or done."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from avi.config.build import load_experiment
from avi.config.compose import Job, override
from avi.errors import ConfigError, DataError, Preempted
from avi.launch import pool
from avi.launch.watch import Watch
from avi.process.terminal import say
from avi.rundir import RunDir, config_differences, config_digest, new_run_name, sweep_run_name
from avi.rundir.bounded import read_tree
from avi.settings import RESUMABLE, WITHOUT_EFFECT

State = Literal["new", "begun", "done"]


class Launch(NamedTuple):
    """A job with its folder and what is in it already."""

    job: Job
    folder: Path
    state: State


def output_root() -> Path:
    """Return the folder under which runs go that were given none."""
    return Path(os.environ.get("AVI_OUTPUT_DIR", "outputs"))


def train_one(job: Job) -> int:
    """Train one job in a new folder, or in the one that `output` names."""
    if job.task is not None:
        raise ConfigError(f"task={job.task} is one job of a sweep. Try -m.")
    launch = place_one(job)
    if job.dry_run:
        load_experiment(job.tree)
        say(f"{launch.state}  {launch.folder}")
        return 0
    return _attempt(launch)


def train_here(job: Job) -> Path:
    """Train one job in this process and return its folder; what goes wrong is raised."""
    launch = place_one(job)
    from avi.run import train

    train.main(job.tree, job.choices, job.words, launch.folder, resume=launch.state == "begun")
    return launch.folder


def resume(folder: Path, words: Sequence[str]) -> int:
    """Go on with the run in `folder`, with a few settings changed.

    Raises:
        ConfigError: the words would change what was trained.
    """
    run = RunDir.open(folder)
    there = read_tree(run.config_path)
    tree = override(there, words)
    if differences := config_differences(there, tree):
        raise ConfigError(
            f"resume cannot change what was trained: {'; '.join(differences[:5])}. "
            "Start a new run, from this one's parameters with train.start=..."
        )
    choices = run.read_run().get("choices", {})
    job = Job(tree, choices, list(words), swept=[], sweep=None, dry_run=False, num_workers=None)
    return _attempt(Launch(job, folder, "begun"))


def sweep(jobs: list[Job]) -> int:
    """Train every job that is not done yet; a failure of one does not stop the others.

    Returns:
        The first exit code that is not 0; 75 before all others.
    """
    if any(job.tree["output"] is not None for job in jobs):
        raise ConfigError("output= is the folder of one run; a sweep takes sweep=<folder>.")
    launches = place_sweep(jobs)
    if jobs[0].dry_run:
        for launch in launches:
            load_experiment(launch.job.tree)
            say(f"{launch.state:5}  {launch.folder}  {' '.join(launch.job.swept)}")
        return 0
    codes = _train_all(launches)
    _summarise(launches, codes)
    failures = [code for code in codes if code]
    return Preempted.exit_code if Preempted.exit_code in failures else next(iter(failures), 0)


def _train_all(launches: list[Launch]) -> list[int | None]:
    """Return the exit code of each launch that is not done yet, None if it was not started."""
    due = [launch for launch in launches if launch.state != "done"]
    for launch in launches:
        if launch.state == "done":
            say(f"done already, skipped: {launch.folder}")

    watch = Watch([f"{launch.folder}  {' '.join(launch.job.swept)}" for launch in due])
    job = launches[0].job
    num_workers = job.num_workers or pool.default_workers(job.tree["device"])
    if min(num_workers, len(due)) > 1:
        num_workers = min(num_workers, len(due))
        with watch:
            return pool.run([_as_attempt(launch) for launch in due], num_workers, watch)
    codes: list[int | None] = [None] * len(due)
    for number, launch in enumerate(due):
        watch.starts(number)
        codes[number] = _attempt(launch)
        watch.ends(number)
        if codes[number] in pool.ENDS_A_SWEEP:
            break
    return codes


def place_one(job: Job) -> Launch:
    """Return the folder of a single run: the one asked for, else a new name.

    An interrupted run of the same configuration in the folder asked for is gone on with, so that
    the same command can be given again; anything else that is there is left to be refused.
    """
    if job.tree["output"] is None:
        return Launch(job, output_root() / "train" / new_run_name(*_names(job)), "new")
    folder = Path(job.tree["output"])
    state = _state(folder, job.tree)
    return Launch(job, folder, "begun" if state == "begun" else "new")


def place_sweep(jobs: list[Job]) -> list[Launch]:
    """Return the folder of every job of a sweep: the same command finds the same folders."""
    root = Path(jobs[0].sweep) if jobs[0].sweep is not None else _sweep_folder(jobs[0])
    launches = []
    for job in jobs:
        folder = root / (sweep_run_name(*_names(job), job.tree) + _suffix(job))
        launches.append(Launch(job, folder, _state(folder, job.tree)))
    twice = [folder for folder, n in Counter(launch.folder for launch in launches).items() if n > 1]
    if twice:
        raise ConfigError(f"Two jobs of this sweep are the same run ({twice[0].name}).")
    chosen = _chosen(launches, jobs[0].task)
    _require_same_files(chosen)
    return chosen


def _chosen(launches: list[Launch], task: int | None) -> list[Launch]:
    """Return the one job of a sweep that an array job asks for, all if it asks for none."""
    if task is None:
        return launches
    if not 0 <= task < len(launches):
        raise ConfigError(
            f"task={task}: the jobs of this sweep are numbered from 0 to {len(launches) - 1}. Try "
            f"sbatch --array=0-{len(launches) - 1}."
        )
    return [launches[task]]


def _require_same_files(launches: list[Launch]) -> None:
    """Raise DataError if a run is done, but over a file of the user's that has changed since."""
    now: dict[str, str] = {}
    for launch in launches:
        node = launch.job.tree["dataset"]
        name = node.get("path")
        before = RunDir.open(launch.folder).read_run() if launch.state == "done" else {}
        if before.get("data_sha256") is None or name is None or not Path(name).exists():
            continue
        from avi.run.session import data_sha256

        digest = now.setdefault(json.dumps(node), "") or data_sha256(launch.job.tree)
        now[json.dumps(node)] = digest
        if digest != before["data_sha256"]:
            raise DataError(
                f"{launch.folder} is done, but the rows of dataset.path={name} have changed since. "
                "Put the data back as they were, train on these in a sweep of their own with "
                "sweep=<another folder>, or replace all of its runs with overwrite=true."
            )


def _attempt(launch: Launch) -> int:
    return pool.attempt(_as_attempt(launch))


def _as_attempt(launch: Launch) -> pool.Attempt:
    job = launch.job
    resumed = launch.state == "begun"
    return pool.Attempt(job.tree, job.choices, job.words, str(launch.folder), resumed)


def _summarise(launches: list[Launch], codes: list[int | None]) -> None:
    tried = [launch for launch in launches if launch.state != "done"]
    counts = {
        "done": codes.count(0),
        "skipped": len(launches) - len(tried),
        "failed": sum(code not in (None, 0, *pool.ENDS_A_SWEEP) for code in codes),
        "interrupted": sum(code in pool.ENDS_A_SWEEP for code in codes),
        "not started": codes.count(None),
    }
    say("\n" + ", ".join(f"{count} {name}" for name, count in counts.items()))
    say(f"  {launches[0].folder.parent}")
    for launch, code in zip(tried, codes, strict=True):
        if code:
            say(f"  exit {code}: {launch.folder}")


def _state(folder: Path, tree: Mapping[str, Any]) -> State:
    """Return what `folder` holds of the run that `tree` describes."""
    if tree["overwrite"] or not (folder / "config.yaml").is_file():
        return "new"
    there = read_tree(folder / "config.yaml")
    if config_digest(there) != config_digest(tree):
        return "new"
    if RunDir.open(folder).read_run().get("status") != "done":
        return "begun"
    return "done" if _settings(there) == _settings(tree) else "begun"  # e.g. more epochs


def _settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key not in WITHOUT_EFFECT}


def _names(job: Job) -> tuple[str, str, str]:
    return tuple(job.choices.get(group, "none") for group in ("model", "inference", "dataset"))  # type: ignore[return-value]


def _sweep_folder(job: Job) -> Path:
    """Return outputs/sweeps/<swept keys>-<hash of the words that all jobs share>."""
    keys = [_key(word).rpartition(".")[2] for word in job.swept] or ["single"]
    fixed = sorted(set(job.words) - set(job.swept))
    fixed = [word for word in fixed if _key(word) not in WITHOUT_EFFECT]
    digest = hashlib.sha256("\n".join(fixed).encode()).hexdigest()[:4]
    return output_root() / "sweeps" / f"{'-'.join(keys)[:80]}-{digest}"


def _suffix(job: Job) -> str:
    """Return what tells apart jobs that differ only in what a resumed run may change."""
    words = [word for word in job.swept if _resumable(_key(word))]
    return "".join("-" + re.sub(r"[^\w.-]+", "_", word)[:40] for word in words)


def _resumable(key: str) -> bool:
    parts = key.split(".")
    return any(".".join(parts[: n + 1]) in RESUMABLE for n in range(len(parts)))


def _key(word: str) -> str:
    """Return the key of `key=value`; of Hydra's `group@key=value` the part behind the @."""
    return word.partition("=")[0].rpartition("@")[2].lstrip("+~")
