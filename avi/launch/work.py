"""One run of a sweep, whoever starts it: it may be started again at any time, and anywhere."""

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from avi.errors import BusyError, Preempted, Refusal
from avi.process.outcome import Ending, explain, told
from avi.process.signals import HEARD, Stop, ending_at_once
from avi.process.terminal import print_any_letter, say
from avi.results import jobs
from avi.rundir import RunDir, config_digest
from avi.rundir.bounded import read_tree
from avi.rundir.lock import is_held
from avi.settings import WITHOUT_EFFECT

State = Literal["new", "begun", "done", "busy"]
ENDS_A_SWEEP = (Preempted.exit_code, *(128 + number for number in HEARD))
BUSY = BusyError.exit_code
KILLED = 128  # and the number of the signal
SKIPPED: dict[State, str] = {  # what is said of a run that is not started, and why
    "done": "done already, skipped",
    "busy": "under way already, left alone",
}


class Attempt(NamedTuple):
    """All that a process needs to train one run of a sweep."""

    tree: Mapping[str, Any]
    choices: Mapping[str, str]
    words: list[str]
    folder: str
    asked: float  # when the sweep was asked for, in seconds since 1970

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return Path(self.folder)


def state(folder: Path, tree: Mapping[str, Any]) -> State:
    """Return what `folder` holds of the run that `tree` describes; busy: a process works on it."""
    if is_held(folder / ".lock"):
        return "busy"
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


def work(attempt: Attempt) -> int:
    """Skip, go on with or begin a run in this process, as its folder asks for by now.

    Returns:
        The exit code; `BUSY` where another process works on it.
    """
    try:
        return _work(attempt)
    except Refusal as error:
        return explain(error)


def _work(attempt: Attempt) -> int:
    folder, tree = attempt.path, attempt.tree
    if tree["overwrite"] and _written_since(folder, attempt.asked):
        tree = {**tree, "overwrite": False}  # the run that was to be replaced is gone
    found = state(folder, tree)
    if found == "done":
        return 0
    if found == "busy":
        say(f"{SKIPPED[found]}: {folder}")
        return BUSY
    jobs.began(folder, attempt.asked, job_id())
    ending = trained(attempt._replace(tree=tree), resume=found == "begun")
    if ending.code == BUSY:  # another process was quicker to take the lock, and records its end
        return 0 if state(folder, tree) == "done" else BUSY
    jobs.ended(folder, *ending)
    return ending.code


def _written_since(folder: Path, moment: float) -> bool:
    with contextlib.suppress(OSError):
        return (folder / "config.yaml").stat().st_mtime >= moment
    return False


def trained(attempt: Attempt, resume: bool) -> Ending:
    """Train in this process and return how it ended; what went wrong is said."""
    try:
        with Stop() as stop:  # importing jax takes seconds
            from avi.run import train
        stop.check()
        train.main(attempt.tree, attempt.choices, attempt.words, attempt.path, resume=resume)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return told(error, attempt.path)
    return Ending(0)


def job_id() -> str:
    """Return the id of the cluster's job in which this process runs, empty outside of one."""
    of = os.environ.get
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{of('SLURM_ARRAY_JOB_ID')}_{of('SLURM_ARRAY_TASK_ID')}"
    return of("SLURM_JOB_ID") or of("SUBMITIT_LOCAL_JOB_ID") or ""


def lives(process: int) -> bool:
    """Say whether there is a process of this person and this machine with an id."""
    if not 0 < process < 2**31:  # what somebody else wrote
        return False
    with contextlib.suppress(ChildProcessError):  # a child that has ended is there until asked for
        os.waitpid(process, os.WNOHANG)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


# In a process of its own.


def started(
    attempt: Attempt, share: list[int], output: int | None = None
) -> "subprocess.Popen[str]":
    """Start work in a process of its own on some cores; `output` is as subprocess takes it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "avi.launch.work", ",".join(map(str, share))],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C reaches the parent alone, which passes it on
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended before it had read
        process.stdin.write(json.dumps(attempt, default=dict))
        process.stdin.close()
    return process


def ended(attempt: Attempt, process: "subprocess.Popen[str]") -> int:
    """Wait for such a process and return its exit code; an end that it could not record is."""
    code = process.wait()
    last = jobs.attempted(attempt.path)
    under_way = last is not None and last.asked == attempt.asked and math.isnan(last.ended)
    with contextlib.suppress(Refusal):  # a full disk: the code says it too
        if code < 0:
            jobs.ended(attempt.path, KILLED - code, f"The process was killed by signal {-code}.")
        elif under_way and code != BUSY:  # it could not wait until all was saved
            jobs.ended(attempt.path, code, "")
    return KILLED - code if code < 0 else code


def _main() -> int:
    """Work on the run on standard input, on the cores that are the first argument."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
    print_any_letter()
    with ending_at_once():
        return work(Attempt(*json.load(sys.stdin)))


if __name__ == "__main__":
    sys.exit(_main())
