"""Progress: a live bar on a terminal, else a plain line at the first epoch and at each tenth."""

import contextlib
import io
import math
import sys
from types import TracebackType
from typing import Any, Self

TENTHS = 10
EPOCH = "epoch "  # begins a line of progress, and no other


class Progress:
    """Shows epoch, bound, speed and time left.

    A closed standard output (`avi train | head`) silences it; the run goes on.
    """

    def __init__(self, total_steps: int, steps_per_epoch: int, name: str) -> None:
        """Begin at step 0 of `total_steps`; `name` says what the bound is."""
        self.total = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.name = name
        self._bar: Any = None
        self._task: Any = None
        self._next = 1  # the epoch that is worth a line

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=None),
                TextColumn(self.name + ", batches {task.fields[bound]} nats"),
                TextColumn("{task.fields[speed]} steps/s"),
                TimeRemainingColumn(compact=True),
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, epoch=0, bound="", speed="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, bound: float, steps_per_second: float) -> None:
        """Show that `step` steps are done and the mean bound of the last ones."""
        epoch = step // self.steps_per_epoch
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=step,
                epoch=epoch,
                bound=f"{bound:.2f}",
                speed=f"{steps_per_second:.0f}",
            )
        elif step % self.steps_per_epoch == 0 and epoch >= self._next:
            tenth = max(1, self.total // self.steps_per_epoch // TENTHS)
            self._next = tenth * (epoch // tenth + 1)
            say(
                f"{EPOCH}{epoch:4d}  {self.name}, batches {bound:9.3f} nats  "
                f"{steps_per_second:6.0f} steps/s"
            )


def is_progress(line: str) -> bool:
    """Say whether a line of a run tells how far it is, and is worth nothing when the next comes."""
    return line.startswith(EPOCH)


def measured(mean: float, error: float) -> str:
    """Return nats and their standard error, where it is known, as a terminal shows them."""
    shown = f"{round(mean, 3) + 0.0:10.3f}"  # no -0.000
    if not math.isfinite(error):
        return f"{shown} nats"
    return f"{shown} ± {'<0.001' if error < 5e-4 else f'{error:.3f}'} nats"


def print_any_letter() -> None:
    """Let a terminal whose encoding lacks a letter, such as λ, show a ? in its place."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # nobody listens
                stream.reconfigure(errors="replace")


def say(line: str) -> None:
    """Print a line, unless nobody listens any more or it cannot be kept (a full disk)."""
    try:
        print(line, flush=True)
    except OSError:
        # Later prints, and the flush at exit, would raise again.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115
