"""Signals that ask a run to stop: finish the step, save, exit 75.

Python handlers do not run while the main thread is inside XLA's compiler. The interpreter's own C
handler does, and writes the signal's number to a pipe; a thread reads it and, if the main thread
has not ended the process in time, does so: the last committed checkpoint stands.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from avi.errors import Preempted

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
PATIENCE = 8.0  # seconds between the first signal and the end, whatever the main thread does
SAME_AGAIN = (
    1.0  # schedulers send TERM along with USR2: only the same signal after a second is meant
)


class Stop:
    """Notes the first signal; `check` raises Preempted once it has come.

    A second SIGINT, or the same signal again after a second, ends the process at once. In a thread
    other than the main one, where handlers cannot be set, it hears nothing.
    """

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.caught: signal.Signals | None = None
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._before = {number: signal.signal(number, self._note) for number in HEARD}
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self._wakeup = writer
        self._previous_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(reader,), daemon=True).start()
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
        received = signal.Signals(number)
        if self.caught is None:
            self.caught, self._since = received, time.monotonic()
            print(f"avi: {received.name}: saving, then stopping.", file=sys.stderr, flush=True)
            return
        again = received == self.caught
        if again and (received == signal.SIGINT or time.monotonic() - self._since > SAME_AGAIN):
            os._exit(128 + number)


def _watch(reader: int) -> None:
    """Wait for the first of our signals, then end the process if it outlives the patience."""
    numbers = {int(number) for number in HEARD}
    while True:
        received = os.read(reader, 1)
        if not received:
            os.close(reader)
            return
        if received[0] in numbers:
            break
    deadline = time.monotonic() + PATIENCE
    os.set_blocking(reader, False)
    while time.monotonic() < deadline:
        time.sleep(0.05)
        try:
            if os.read(reader, 64) == b"":
                os.close(reader)
                return
        except BlockingIOError:
            continue
    os.write(2, b"avi: stopped with the last saved checkpoint.\n")
    os._exit(Preempted.exit_code)
