"""A sweep on a SLURM cluster, by submitit: a job array, one job for each run."""

import math
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avi.engine.devices import cores
from avi.errors import BusyError, ConfigError, ResourceError
from avi.exports.extra import imported
from avi.launch import work
from avi.launch.sweep import Ended, Policy, Sweep, Then, follow, has_failed
from avi.launch.work import BUSY, ENDS_A_SWEEP, KILLED, Attempt
from avi.process.grammar import many
from avi.process.terminal import say
from avi.results import jobs
from avi.results.jobs import Attempted, Submission
from avi.rundir.lock import Lock

LOGS = ".submitit"  # beside the runs: what submitit writes, and what the jobs say
WARNED = 60  # seconds before the end of a job's time at which it is told
REQUEUES = 1000  # of one job; each has trained for as long as its time allows
PATIENCE = 60.0  # seconds that another command may take to submit
LOOK = {"slurm": 10.0, "local": 0.2}  # seconds between two looks at jobs that are waited for


@dataclass(frozen=True)
class Slurm(Policy):
    """Submits the runs as one job array and returns, or waits until all jobs have ended."""

    cluster: Literal["slurm", "local", "debug"]  # local: processes of this machine; debug: this one
    partition: str | None
    time: int  # minutes of a job
    cpus: int  # cores of each run
    gpus: int  # of each run
    memory: float  # GB of each run
    sbatch: Mapping[str, Any] | None  # more of its parameters
    wait: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("time", 2), ("cpus", 1), ("gpus", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more; got {getattr(self, name)}.")
        if not self.memory > 0:
            raise ValueError(f"memory must be positive (GB); got {self.memory:g}.")
        if self.then is not None and self.cluster == "local" and not self.wait:
            raise ValueError("with cluster=local nobody waits for what then= asks. Try wait=true.")

    def start(self, sweep: Sweep) -> Ended | None:
        """Submit the runs that are due and in no queue yet; return how they ended if waited for.

        Raises:
            ConfigError: submitit or SLURM is not here.
            ResourceError: SLURM does not take the jobs.
            BusyError: another command submits to the same sweep, and does not end.
        """
        executor = self._executor(sweep)
        with _alone(sweep.folder / LOGS):  # or two commands at once would both find none queued
            alive = self._alive(sweep)
            due = [run for run in sweep.due if run.path.name not in alive]
            for run in sweep.due:
                if run.path.name in alive:
                    say(f"in the queue already, job {alive[run.path.name]}: {run.folder}")
            submitted = self._submit(executor, sweep, due)
        if due:
            where = "SLURM" if self.cluster == "slurm" else f"launcher.cluster={self.cluster}"
            say(f"{many(len(due), 'job')} submitted to {where}.")
        if self.cluster != "debug":
            say(f"To look: avi status {sweep.folder}")
        if self.cluster == "slurm":  # which begins what follows when the others have ended
            ids = [*alive.values(), *(job.job_id for job in submitted)]
            submitted += self._follow(sweep, due, ids)
        if not self._waits(submitted, alive.values()):
            return None
        codes = [_code(run, queued=run.path.name in alive) for run in sweep.due]
        return Ended(codes) if self.cluster == "slurm" else self.ended(sweep, codes)

    def _executor(self, sweep: Sweep, after: Sequence[str] = ()) -> Any:
        """Return what submits, jobs that begin `after` others have ended."""
        submitit = _submitit()
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError(
                "launcher=slurm finds no sbatch: jobs are submitted where SLURM is. To train on "
                "this machine, try launcher=pool."
            )
        executor = submitit.AutoExecutor(
            sweep.folder / LOGS,
            cluster=self.cluster,
            slurm_max_num_timeout=REQUEUES,
            local_max_num_timeout=REQUEUES,
        )
        # An array job has an id for each of its tasks, and its own in front of the _.
        arrays = sorted({job.partition("_")[0] for job in after})
        executor.update_parameters(
            name="avi",
            timeout_min=self.time,
            cpus_per_task=self.cpus,
            gpus_per_node=self.gpus or None,  # clusters without any know no 0 of them
            mem_gb=self.memory,
            slurm_partition=self.partition,
            slurm_array_parallelism=sweep.num_workers or len(sweep.runs),
            slurm_signal_delay_s=WARNED,
            slurm_srun_args=[f"--cpus-per-task={self.cpus}"],  # which srun does not take over
            slurm_dependency=f"afterany:{':'.join(arrays)}" if arrays else None,
            slurm_additional_parameters={"requeue": True, **(self.sbatch or {})},
        )
        return executor

    def _submit(self, executor: Any, sweep: Sweep, due: list[Attempt]) -> list[Any]:
        if not due:
            return []
        here = self.cluster == "debug"
        submitted = _mapped(executor, _Task(self, here), due)
        jobs.submitted(
            sweep.folder,
            [
                Submission(run.path.name, run.asked, self.cluster, "" if here else job.job_id)
                for run, job in zip(due, submitted, strict=True)
            ],
        )
        return submitted

    def _follow(self, sweep: Sweep, due: list[Attempt], after: Sequence[str]) -> list[Any]:
        """Submit what follows."""
        following = self.following(sweep, due)
        if self.then is None or not following:
            return []
        say(f"When all have ended: avi {self.then}, {many(len(following), 'job')}.")
        return _mapped(self._executor(sweep, after), _Following(self.then), following)

    def _alive(self, sweep: Sweep) -> dict[str, str]:
        """Return the job of each run of which one queues or runs."""
        names = {run.name for run in sweep.runs}
        asked = {
            one.run: one.job
            for one in jobs.submissions(sweep.folder)
            if one.launcher == self.cluster and one.run in names
        }
        ids = self._under_way(asked.values())
        return {name: job for name, job in asked.items() if job in ids}

    def _under_way(self, ids: Iterable[str]) -> set[str]:
        """Return those of the jobs that queue or run."""
        ids = set(ids)
        if self.cluster == "slurm" and ids:
            return ids & _queued()
        if self.cluster == "local":
            return {job for job in ids if job.isdecimal() and work.lives(int(job))}
        return set()

    def _waits(self, submitted: list[Any], others: Iterable[str]) -> bool:
        """Wait for jobs if that is asked for, or if they run in this process; say whether."""
        ids = {*others, *(job.job_id for job in submitted)}
        if self.cluster == "debug":
            for job in submitted:
                if error := job.exception():  # which carries it out
                    raise error
                if job.result() in ENDS_A_SWEEP:
                    break
        elif self.wait:
            while self._may_run(ids):
                time.sleep(LOOK[self.cluster])
        return self.wait or self.cluster == "debug"

    def _may_run(self, ids: set[str]) -> bool:
        """Say whether one of the jobs queues or runs, as far as is known."""
        try:
            return bool(self._under_way(ids))
        except ResourceError as error:  # a cluster is busy now and then
            say(str(error))
            return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other command submits to a sweep, whose folder of submissions this is."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            lock = Lock(folder / "lock")
            break
        except BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    try:
        yield
    finally:
        lock.release()


class _Task:
    """What submitit calls in a job: the run in a process of its own, as submitit hears signals."""

    def __init__(self, policy: Policy, here: bool) -> None:
        self.policy = policy
        self.here = here  # in this very process
        self._process: subprocess.Popen[str] | None = None
        self._code: int | None = None

    def __call__(self, attempt: Attempt) -> int:
        """Work on the run, once more where that may help; its exit code is that of the job."""
        if self.policy.fail_fast and (failed := _failed(attempt)):
            reason = f"Not started: {failed} has failed, and launcher.fail_fast=true."
            say(reason)
            jobs.left_out(attempt.path, attempt.asked, reason)
            return 0
        code = self.policy.carried_out(attempt, self._work)
        if code not in (0, BUSY) and not self.here:
            raise SystemExit(code)
        return code

    def checkpoint(self, attempt: Attempt) -> Any:
        """Let the run save and end, and return what is to be done when the job runs again.

        submitit calls it when the job runs out of time or is preempted, and then requeues the job.
        """
        if self._process is not None and self._code is None:
            self._process.send_signal(signal.SIGUSR2)
            self._wait()
        return _submitit().helpers.DelayedSubmission(_Task(self.policy, self.here), attempt)

    def _work(self, attempt: Attempt) -> int:
        if self.here:
            return work.work(attempt)
        self._code, self._process = None, work.started(attempt, cores())
        process = self._process
        # submitit passes SIGTERM over; a job that is cancelled is to save.
        signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        threading.Thread(target=self._attend, args=(attempt, process), daemon=True).start()
        try:
            return self._wait()
        finally:
            if self._code is None:
                process.terminate()

    def _attend(self, attempt: Attempt, process: "subprocess.Popen[str]") -> None:
        self._code = work.ended(attempt, process)

    def _wait(self) -> int:
        """Return the code once it is there; no lock is held, as a signal may call it anew."""
        while self._code is None:
            time.sleep(0.1)
        return self._code


class _Following:
    """What submitit calls in a job that begins when those of the runs have ended."""

    def __init__(self, then: Then) -> None:
        self.then = then

    def __call__(self, runs: list[Path]) -> None:
        if code := follow(self.then, runs):
            raise SystemExit(code)

    def checkpoint(self, runs: list[Path]) -> Any:
        """Return the same again, for when the job runs again."""
        return _submitit().helpers.DelayedSubmission(self, runs)


def _submitit() -> Any:
    """Return submitit, kept from setting up the logging of this whole process.

    Raises:
        ConfigError: it is not installed; says how.
    """
    before = os.environ.get("SUBMITIT_LOG_LEVEL")
    os.environ["SUBMITIT_LOG_LEVEL"] = "NOCONFIG"  # which it reads when it is imported
    try:
        return imported("submitit", "slurm", "launcher=slurm")
    finally:
        del os.environ["SUBMITIT_LOG_LEVEL"]
        if before is not None:
            os.environ["SUBMITIT_LOG_LEVEL"] = before


def _mapped(executor: Any, task: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Return a job for each item, all of one array.

    Raises:
        ResourceError: SLURM does not take them; says what it said.
    """
    from submitit.core.utils import FailedJobError

    try:
        return list(executor.map_array(task, items))
    except FailedJobError as error:
        raise ResourceError(f"SLURM does not take the jobs: {_told(error)}") from error


def _told(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("sbatch:")), lines[-1])


def _failed(attempt: Attempt) -> str | None:
    """Return another run of the same command that has failed, None if there is none."""
    for name, known in jobs.read(attempt.path.parent).items():
        last = known.attempted
        if last is not None and last.asked == attempt.asked and math.isfinite(last.exit_code):
            if has_failed(int(last.exit_code)):
                return name
    return None


def _code(run: Attempt, queued: bool) -> int | None:
    """Return how a run ended in its job, None where it was not begun.

    Args:
        run: that was asked for.
        queued: its job is that of an earlier command.
    """
    last = jobs.attempted(run.path)
    own = last if last is not None and (queued or last.asked == run.asked) else Attempted()
    if math.isfinite(own.exit_code):
        return int(own.exit_code)
    known = {"done": 0, "busy": BUSY}.get(work.state(run.path, run.tree))
    if known is None and math.isfinite(own.began):
        return KILLED + signal.SIGKILL
    return known


def _queued() -> set[str]:
    """Return the ids of this person's jobs that queue or run.

    Raises:
        ResourceError: SLURM does not answer.
    """
    words = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise ResourceError(f"SLURM does not say which jobs there are: {why}") from error
    return set(found.stdout.split())
