"""Signals that ask a run to stop: finish the step, save, exit 75.

Python handlers do not run while the main thread is inside XLA's compiler. The interpreter's own C
handler does, and writes the signal's number to a pipe; a thread reads it and ends the process if
the main thread has not done so in time, or at once if asked again: the last committed checkpoint
stands.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from avi.errors import Preempted

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
PATIENCE = 8.0  # seconds between the first signal and the end, whatever the main thread does
SAME_AGAIN = 1.0  # seconds; schedulers repeat themselves, a person who means it does so later


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Let a signal end the process with 75: for the moments in which there is nothing to save.

    `Stop` takes over where there is. In a thread other than the main one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in HEARD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    _tell(f"{signal.Signals(number).name}: stopped; the same command goes on.")
    os._exit(Preempted.exit_code)


class Stop:
    """Notes the first signal; `check` raises Preempted once it has come.

    A second SIGINT, or the same signal again after a second, ends the process at once. In a thread
    other than the main one, where handlers cannot be set, it hears nothing.
    """

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.caught: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> Self:
        """Listen."""
        if threading.current_thread() is not threading.main_thread():
            return self
        self._before = {number: signal.signal(number, self._note) for number in HEARD}
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self._wakeup = writer
        self._previous_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=_Watcher(reader).run, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._before:
            return
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._wakeup)  # the watcher reads the end of the pipe and returns
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Preempted if a signal has come."""
        if self.caught is not None:
            raise Preempted(f"Stopped by {self.caught.name}; everything up to here is saved.")

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.caught is None:
            self.caught = signal.Signals(number)
            # Not print: the signal may have come in the middle of one, which cannot be re-entered.
            _tell(f"{self.caught.name}: saving, then stopping.")


class _Watcher:
    """The thread that ends the process if the main thread does not, or if it is asked again."""

    def __init__(self, reader: int) -> None:
        self.reader = reader
        self.since: dict[int, float] = {}  # each number's first arrival

    def run(self) -> None:
        """Read the numbers of signals until the pipe is closed."""
        numbers = {int(number) for number in HEARD}
        while self._wait():
            received = os.read(self.reader, 1)
            if not received:
                break
            if received[0] in numbers:
                self._heard(received[0])
        os.close(self.reader)

    def _wait(self) -> bool:
        """Return when there is something to read; end the process when patience is over."""
        left = None
        if self.since:
            left = max(0.0, min(self.since.values()) + PATIENCE - time.monotonic())
        ready, _, _ = select.select([self.reader], [], [], left)
        if not ready:
            _tell("stopped with the last saved checkpoint.")
            os._exit(Preempted.exit_code)
        return True

    def _heard(self, number: int) -> None:
        now = time.monotonic()
        if number not in self.since:
            self.since[number] = now
        elif number == signal.SIGINT or now - self.since[number] > SAME_AGAIN:
            os._exit(128 + number)


def _tell(sentence: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"avi: {sentence}\n".encode())
