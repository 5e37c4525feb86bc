"""A sweep in parallel: a fresh process for every run, each worker with cores of its own.

XLA gains little from a second core on matrices of this size: two processes of one core do about 1.6
times the work of one process of two.
"""

import contextlib
import glob
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from avi.engine.devices import cores
from avi.errors import Preempted
from avi.launch.watch import Watch
from avi.process.outcome import explain
from avi.process.signals import HEARD, Stop, ending_at_once
from avi.process.terminal import print_any_letter
from avi.settings import Device

ENDS_A_SWEEP = (Preempted.exit_code, *(128 + number for number in HEARD))
ACCELERATORS = ("/dev/nvidia[0-9]*", "/dev/accel*", "/dev/vfio/[0-9]*")


class Attempt(NamedTuple):
    """All that a process needs to train one run."""

    tree: Mapping[str, Any]
    choices: Mapping[str, str]
    words: list[str]
    folder: str
    resume: bool


def attempt(run: Attempt) -> int:
    """Train in this process and return the exit code; what went wrong is explained."""
    folder = Path(run.folder)
    try:
        with Stop() as stop:  # importing jax takes seconds
            from avi.run import train
        stop.check()
        train.main(run.tree, run.choices, run.words, folder, resume=run.resume)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return explain(error, folder)
    return 0


def default_workers(device: Device) -> int:
    """Return one worker per core, or a single one where runs would share an accelerator."""
    shared = device == "auto" and any(glob.glob(pattern) for pattern in ACCELERATORS)
    return 1 if shared or device in ("gpu", "tpu") else len(cores())


def run(runs: Sequence[Attempt], num_workers: int, watch: Watch) -> list[int | None]:
    """Return each run's exit code, None where it was not started.

    Signals are passed on: the runs under way save and end, and no other starts.
    """
    return _Pool(runs, num_workers, watch).run()


class _Pool:
    def __init__(self, runs: Sequence[Attempt], num_workers: int, watch: Watch) -> None:
        self.runs = runs
        self.watch = watch
        own = cores()
        shares = [own[worker::num_workers] for worker in range(min(num_workers, len(own)))]
        self.idle = [shares[worker % len(shares)] for worker in range(num_workers)]
        self.codes: list[int | None] = [None] * len(runs)
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.ended: queue.Queue[tuple[int, list[int]]] = queue.Queue()
        self.stopping = False

    def run(self) -> list[int | None]:
        before = {number: signal.signal(number, self._pass_on) for number in HEARD}
        try:
            waiting = list(range(len(self.runs)))
            while self.processes or (waiting and not self.stopping):
                while waiting and self.idle and not self.stopping:
                    self._start(waiting.pop(0), self.idle.pop(0))
                self._await()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.codes

    def _start(self, number: int, share: list[int]) -> None:
        self.watch.starts(number)
        process = subprocess.Popen(
            [sys.executable, "-m", "avi.launch.pool", ",".join(map(str, share))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
        )
        self.processes[number] = process
        threading.Thread(target=self._attend, args=(number, process, share), daemon=True).start()

    def _attend(self, number: int, process: subprocess.Popen[str], share: list[int]) -> None:
        """Send a process its run, print what it says, and tell when it has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it ended before it had read
                process.stdin.write(json.dumps(self.runs[number], default=dict))
                process.stdin.close()
            for line in process.stdout:
                self.watch.hears(number, line.removesuffix(chr(10)))
        finally:  # or `run` would wait for ever
            process.stdout.close()
            process.wait()
            self.ended.put((number, share))

    def _await(self) -> None:
        try:
            # With a timeout signals are heard meanwhile.
            number, share = self.ended.get(timeout=0.5)
        except queue.Empty:
            return
        code = self.processes.pop(number).returncode
        self.codes[number] = 128 - code if code < 0 else code
        self.watch.ends(number)
        self.stopping = self.stopping or self.codes[number] in ENDS_A_SWEEP
        self.idle.append(share)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.stopping = True
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(number)


def _work() -> int:
    """Train the run on standard input, on the cores that are the first argument."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
    print_any_letter()
    with ending_at_once():
        return attempt(Attempt(*json.load(sys.stdin)))


if __name__ == "__main__":
    sys.exit(_work())
