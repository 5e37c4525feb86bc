"""Where runs go, and which of them are new, begun or done."""

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from avi.config.build import load_experiment
from avi.config.compose import Job, override
from avi.config.schema import check
from avi.errors import ConfigError, DataError, Preempted
from avi.launch import work
from avi.launch.sweep import Ended, Launcher, Sweep, has_failed
from avi.launch.work import BUSY, ENDS_A_SWEEP, SKIPPED, Attempt, State
from avi.process.terminal import say
from avi.rundir import RunDir, config_differences, new_run_name, sweep_run_name
from avi.rundir.bounded import read_tree
from avi.settings import RESUMABLE, WITHOUT_EFFECT


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
    job = Job(tree, choices, list(words), swept=[])
    return _attempt(Launch(job, folder, "begun"))


def sweep(jobs: list[Job]) -> int:
    """Train every job that is neither done nor under way; a failure does not stop the others.

    Returns:
        The first exit code that is not 0; 75 before all others. 0 where the runs go on elsewhere.
    """
    if any(job.tree["output"] is not None for job in jobs):
        raise ConfigError("output= is the folder of one run; a sweep takes sweep=<folder>.")
    launcher: Launcher = check(jobs[0].launcher, Launcher, "launcher")
    launches = place_sweep(jobs)
    if jobs[0].dry_run:
        for launch in launches:
            load_experiment(launch.job.tree)
            say(f"{launch.state:5}  {launch.folder}  {' '.join(launch.job.swept)}")
        return 0
    for launch in launches:
        if launch.state in SKIPPED:
            say(f"{SKIPPED[launch.state]}: {launch.folder}")
    due = [launch for launch in launches if launch.state not in SKIPPED]
    asked = time.time()
    ended = launcher.start(
        Sweep(
            folder=launches[0].folder.parent,
            runs=[launch.folder for launch in launches],
            due=[_as_attempt(launch, asked) for launch in due],
            names=[f"{launch.folder}  {' '.join(launch.job.swept)}" for launch in due],
            num_workers=jobs[0].num_workers,
        )
    )
    return 0 if ended is None else _ended(launches, due, ended)


def place_one(job: Job) -> Launch:
    """Return the folder of a single run: the one asked for, else a new name.

    An interrupted run of the same configuration in the folder asked for is gone on with, so that
    the same command can be given again; anything else that is there is left to be refused.
    """
    if job.tree["output"] is None:
        return Launch(job, output_root() / "train" / new_run_name(*_names(job)), "new")
    folder = Path(job.tree["output"])
    state = work.state(folder, job.tree)
    there = state == "begun" or (state == "busy" and (folder / "config.yaml").is_file())
    return Launch(job, folder, "begun" if there else "new")


def place_sweep(jobs: list[Job]) -> list[Launch]:
    """Return the folder of every job of a sweep: the same command finds the same folders."""
    root = Path(jobs[0].sweep) if jobs[0].sweep is not None else _sweep_folder(jobs[0])
    launches = []
    for job in jobs:
        folder = root / (sweep_run_name(*_names(job), job.tree) + _suffix(job))
        launches.append(Launch(job, folder, work.state(folder, job.tree)))
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
    return work.trained(_as_attempt(launch, time.time()), launch.state == "begun").code


def _as_attempt(launch: Launch, asked: float) -> Attempt:
    job = launch.job
    return Attempt(job.tree, job.choices, job.words, str(launch.folder), asked)


def _ended(launches: list[Launch], due: list[Launch], ended: Ended) -> int:
    """Say how the runs of a sweep ended, and return its exit code."""
    codes = ended.codes
    # Those that another command works on, and may have ended since.
    busy = [launch for launch in launches if launch.state == "busy"]
    others = [work.state(launch.folder, launch.job.tree) for launch in busy]
    counts = {
        "done": codes.count(0) + others.count("done"),
        "skipped": sum(launch.state == "done" for launch in launches),
        "failed": sum(map(has_failed, codes)),
        "interrupted": sum(code in ENDS_A_SWEEP for code in codes),
        "not started": codes.count(None),
        "under way elsewhere": codes.count(BUSY) + len(others) - others.count("done"),
    }
    say("\n" + ", ".join(f"{count} {name}" for name, count in counts.items()))
    say(f"  {launches[0].folder.parent}")
    for launch, code in zip(due, codes, strict=True):
        if code:
            say(f"  exit {code}: {launch.folder}")
    ends = [*filter(None, codes), *(BUSY for state in others if state != "done")]
    ends += [ended.followed] if ended.followed else []
    again = Preempted.exit_code  # also where a job was cancelled before it began
    return again if again in ends else next(iter(ends), again if None in codes else 0)


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
