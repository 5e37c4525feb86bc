"""Who else sees the lines of metrics.jsonl while a run trains: TensorBoard, or one's own tracker.

A tracker is a context manager, made for one run folder, that gives a function of one line. It can
refuse a run before its first step, and end none: once it fails it is told so, and left.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from avi.config.schema import check, nearest
from avi.errors import ConfigError
from avi.exports import tensorboard
from avi.process.terminal import say
from avi.results.metrics import MetricsLine

Tracker = Callable[[MetricsLine], None]
Maker = Callable[[Path], AbstractContextManager[Tracker]]
TENSORBOARD = "tensorboard"


def nobody(line: MetricsLine) -> None:
    """See nothing."""
    del line


def maker(name: str | None) -> Maker | None:
    """Return what makes the tracker that train.log names; None if it names none.

    Raises:
        ConfigError: its library is not installed; or it is no function of a package that the person
            has named in AVI_PLUGINS.
    """
    if name is None:
        return None
    if name == TENSORBOARD:
        tensorboard.writer_class(f"train.log={TENSORBOARD}")
        return tensorboard.live
    if "." not in name:
        raise ConfigError(
            f"train.log={name}: expected tensorboard, or package.module.function of your own "
            f"tracker.{nearest(name, [TENSORBOARD])}"
        )
    found: Maker = check(name, Callable[..., Any], "train.log")
    return found


@contextmanager
def tracking(name: str | None, folder: Path) -> Iterator[Tracker]:
    """Yield the tracker that train.log names for the run in `folder`; its failures end no run.

    Raises:
        ConfigError: it fails before it has seen a line.
    """
    make = maker(name)
    if make is None:
        yield nobody
        return
    try:
        manager = make(folder)
        tracker = manager.__enter__()
    except Exception as error:
        raise ConfigError(
            f"train.log: the tracker cannot begin: {_words(error)}. Try avi train resume={folder} "
            "train.log=null"
        ) from error
    guarded = _Guarded(tracker)
    try:
        yield guarded
    finally:
        try:
            manager.__exit__(*sys.exc_info())
        except Exception as error:
            guarded.failed(error)


class _Guarded:
    """Hands lines on until the tracker fails."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker: Tracker | None = tracker

    def __call__(self, line: MetricsLine) -> None:
        if self.tracker is None:
            return
        try:
            self.tracker(line)
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Say so once."""
        if self.tracker is not None:
            say(f"train.log: the tracker has failed: {_words(error)}. The run goes on without it.")
        self.tracker = None


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")[:200]
