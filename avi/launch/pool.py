"""A sweep on this machine: a fresh process for every run, each worker with cores of its own.

XLA gains little from a second core on matrices of this size: two processes of one core do about 1.6
times the work of one process of two.
"""

import glob
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from avi.engine.devices import cores
from avi.launch import work
from avi.launch.sweep import Ended, Policy, Sweep
from avi.launch.watch import Watch
from avi.launch.work import ENDS_A_SWEEP, Attempt
from avi.process.signals import HEARD
from avi.results import jobs
from avi.results.jobs import Submission
from avi.settings import Device

ACCELERATORS = ("/dev/nvidia[0-9]*", "/dev/accel*", "/dev/vfio/[0-9]*")


@dataclass(frozen=True)
class Pool(Policy):
    """Runs side by side on this machine, or one after the other in this very process."""

    def start(self, sweep: Sweep) -> Ended:
        """Return how the runs ended when all have."""
        due = sweep.due
        if len(sweep.runs) > 1:
            asked = [Submission(run.path.name, run.asked, "pool") for run in due]
            jobs.submitted(sweep.folder, asked)
        codes: list[int | None] = []
        if due:
            wanted = sweep.num_workers or default_workers(due[0].tree["device"])
            codes = self._run(due, min(wanted, len(due)), Watch(sweep.names))
        return self.ended(sweep, codes)

    def _run(self, due: list[Attempt], num_workers: int, watch: Watch) -> list[int | None]:
        if num_workers > 1:
            with watch:
                return run(due, num_workers, watch, self)
        codes: list[int | None] = [None] * len(due)
        for number, attempt in enumerate(due):
            watch.starts(number)
            codes[number] = code = self.carried_out(attempt, work.work)
            watch.ends(number)
            if code in ENDS_A_SWEEP or self.gives_up(code):
                break
        return codes


def default_workers(device: Device) -> int:
    """Return one worker per core, or a single one where runs would share an accelerator."""
    shared = device == "auto" and any(glob.glob(pattern) for pattern in ACCELERATORS)
    return 1 if shared or device in ("gpu", "tpu") else len(cores())


def run(
    runs: Sequence[Attempt], num_workers: int, watch: Watch, policy: Policy
) -> list[int | None]:
    """Return each run's exit code, None where it was not started.

    Signals are passed on: the runs under way save and end, and no other starts.
    """
    return _Pool(runs, num_workers, watch, policy).run()


class _Pool:
    def __init__(
        self, runs: Sequence[Attempt], num_workers: int, watch: Watch, policy: Policy
    ) -> None:
        self.runs = runs
        self.watch = watch
        self.policy = policy
        own = cores()
        shares = [own[worker::num_workers] for worker in range(min(num_workers, len(own)))]
        self.idle = [shares[worker % len(shares)] for worker in range(num_workers)]
        self.waiting = list(range(len(runs)))
        self.attempts = [0] * len(runs)
        self.codes: list[int | None] = [None] * len(runs)
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.ended: queue.Queue[tuple[int, int, list[int]]] = queue.Queue()
        self.stopping = False

    def run(self) -> list[int | None]:
        before = {number: signal.signal(number, self._pass_on) for number in HEARD}
        try:
            while self.processes or (self.waiting and not self.stopping):
                while self.waiting and self.idle and not self.stopping:
                    self._start(self.waiting.pop(0), self.idle.pop(0))
                self._await()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.codes

    def _start(self, number: int, share: list[int]) -> None:
        self.watch.starts(number)
        self.attempts[number] += 1
        process = work.started(self.runs[number], share, subprocess.PIPE)
        self.processes[number] = process
        threading.Thread(target=self._attend, args=(number, process, share), daemon=True).start()

    def _attend(self, number: int, process: subprocess.Popen[str], share: list[int]) -> None:
        """Print what a process says, and tell when it has ended."""
        assert process.stdout is not None
        try:
            for line in process.stdout:
                self.watch.hears(number, line.removesuffix(chr(10)))
        finally:  # or `run` would wait for ever
            process.stdout.close()
            self.ended.put((number, work.ended(self.runs[number], process), share))

    def _await(self) -> None:
        try:
            # With a timeout signals are heard meanwhile.
            number, code, share = self.ended.get(timeout=0.5)
        except queue.Empty:
            return
        del self.processes[number]
        self.codes[number] = code
        self.idle.append(share)
        self.stopping = self.stopping or code in ENDS_A_SWEEP
        if not self.stopping and self.policy.tries_again(code, self.attempts[number]):
            self.watch.hears(number, f"tried again after exit code {code}")
            self.waiting.append(number)
            return
        self.watch.ends(number)
        self.stopping = self.stopping or self.policy.gives_up(code)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.stopping = True
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(number)
