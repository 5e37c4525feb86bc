"""When training has stopped getting better: a rule that knows the noise of its evaluations."""

from typing import Self

import numpy as np

from avi.rundir.checkpoints import Checkpoint

BEST = "patience.best"  # beside the state in a checkpoint, whose names begin with a point


class Patience:
    """Counts the evaluations since one was better than the best before it.

    Every evaluation scores the same rows with the same draws: it is better if the paired difference
    is above one standard error of itself, so that luck does not count and slow progress adds up.
    """

    def __init__(self, limit: int | None, since: int = 0, best: np.ndarray | None = None) -> None:
        """Begin, or go on where a checkpoint was; without a limit nothing is counted."""
        self.limit = limit
        self.since = since
        self._best = np.zeros(0) if best is None else best

    @classmethod
    def restored(cls, limit: int | None, checkpoint: Checkpoint) -> Self:
        """Return what a checkpoint has kept."""
        since = checkpoint.manifest.extra.get("patience") or 0
        return cls(limit, int(since), checkpoint.arrays.get(BEST))

    def see(self, bounds: np.ndarray) -> None:
        """Take note of the bound of every row at one evaluation."""
        bounds = np.asarray(bounds, np.float64)
        if self.limit is None:
            return
        if self._best.shape != bounds.shape or self._is_better(bounds):
            self._best, self.since = bounds, 0
        else:
            self.since += 1

    def _is_better(self, bounds: np.ndarray) -> bool:
        difference = bounds - self._best
        noise = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0
        return bool(difference.mean() > noise)

    @property
    def over(self) -> bool:
        """Whether so many evaluations in a row were no better."""
        return self.limit is not None and self.since >= self.limit

    def kept(self) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return the arrays and the numbers that a checkpoint keeps, none without a limit."""
        if self.limit is None:
            return {}, {}
        return {BEST: self._best}, {"patience": self.since}
