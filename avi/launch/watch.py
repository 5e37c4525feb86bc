"""What a sweep shows while it trains: how far it is, and one live line per run on a terminal."""

import sys
import threading
from collections.abc import Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Self

from avi.process.grammar import about
from avi.process.terminal import is_progress, say


class Watch:
    """Shows what the runs of a sweep say, and how many of them are done.

    On a terminal each run that trains has one line that changes; elsewhere all that they say is
    printed. Runs may be heard from several threads.
    """

    def __init__(self, runs: Sequence[str]) -> None:
        """Begin with none of the runs done; `runs` says which each is."""
        self.runs = runs
        self._ended = 0
        self._began = monotonic()
        self._lines: dict[int, str] = {}  # of the runs that train
        self._live: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(get_renderable=self._shown, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def starts(self, number: int) -> None:
        """Say which run starts; `number` counts from 0."""
        self._say(f"[{number + 1}/{len(self.runs)}] {self.runs[number]}")
        with self._lock:
            self._lines[number] = "starts"

    def hears(self, number: int, line: str) -> None:
        """Show a line that a run has printed."""
        if self._live is not None and is_progress(line):
            with self._lock:
                self._lines[number] = line
            return
        self._say(f"[{number + 1}] {line}")

    def ends(self, number: int) -> None:
        """Count a run that has ended, and say how long the others may take."""
        with self._lock:
            self._ended += 1
            self._lines.pop(number, None)
        if self._live is None and self._ended < len(self.runs):
            say(self.summary())

    def _say(self, line: str) -> None:
        if self._live is None:
            say(line)
        else:  # above the lines that change, and uncut: it may be a path
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def summary(self) -> str:
        """Return how many runs are done, and about how long the others take at this pace."""
        left = len(self.runs) - self._ended
        said = f"{self._ended} of {len(self.runs)} done"
        if not (self._ended and left):
            return said
        return f"{said}, about {about((monotonic() - self._began) / self._ended * left)} left"

    def _shown(self) -> Any:
        from rich.text import Text

        with self._lock:
            lines = [f"[{number + 1}] {line}" for number, line in sorted(self._lines.items())]
        return Text("\n".join([*lines, self.summary()]), overflow="ellipsis", no_wrap=True)
