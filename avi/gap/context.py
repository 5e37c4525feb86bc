"""What every part of a report is given: it goes down and is not written to, values come back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from avi.engine.evaluator import Evaluator
from avi.experiment import Experiment
from avi.gap.compiled import Compiled
from avi.gap.ledger import Ledger
from avi.gap.search import Job, Searcher
from avi.gap.selection import Selection
from avi.population import Points, choose, in_turn, sizes_of
from avi.randomness import key_for
from avi.settings import GapSettings, Split
from avi.types import Params, Splits

Progress = Callable[[str, float], None]  # what is going on, and the share of it that is done


@dataclass(frozen=True)
class Clock:
    """The time that a report has."""

    limit: float | None  # seconds; None: for ever
    began: float = field(default_factory=perf_counter)

    @property
    def seconds(self) -> float:
        """Since the report began."""
        return perf_counter() - self.began

    def has_time(self, share: float = 1.0) -> bool:
        """Whether new work may start; `share` of the seconds are for what comes before."""
        return self.limit is None or self.seconds < share * self.limit


@dataclass
class Notes:
    """What was left out, in the words that a person reads."""

    skipped: list[str] = field(default_factory=list)
    complete: bool = True  # no row and no evidence was dropped

    def skip(self, sentence: str) -> None:
        """Note what was not done."""
        self.skipped.append(sentence)

    def drop(self, sentence: str) -> None:
        """Note rows or evidence that a complete report would have."""
        self.complete = False
        self.skipped.append(sentence)


@dataclass(frozen=True)
class Context:
    """One report: what it measures, with what, and where it notes what it could not do."""

    experiment: Experiment
    params: Params
    splits: Splits
    settings: GapSettings
    ledger: Ledger
    on_progress: Progress
    clock: Clock
    notes: Notes = field(default_factory=Notes)
    named: Mapping[Split, Points] | None = None  # the rows of gap.rows; None: they are drawn

    @cached_property
    def compiled(self) -> Compiled:
        """The functions of recorded rows, with the parameters in them."""
        view = self.experiment.dataset.fixed().view
        return Compiled(self.experiment, self.settings, self.params, view)

    @cached_property
    def compiled_for_simulated(self) -> Compiled:
        """The same of rows that are observations already: no view changes them."""
        return self.compiled_for_observed(self.params)

    def compiled_for_observed(self, params: Params) -> Compiled:
        """Return the functions of rows that are observations, at these theta and psi."""
        return Compiled(self.experiment, self.settings, params, lambda row, number, visit: row)

    @cached_property
    def sizes(self) -> dict[Split, int]:
        """Rows per split."""
        return sizes_of(self.splits)

    def stands_for(self, split: Split) -> int:
        """Return how many rows a mean is of in the end: the split's, or those that are named."""
        return self.sizes[split] if self.named is None else len(self.named[split])

    def points(self, first: int, last: int) -> tuple[Points, list[Split]]:
        """Return the rows first..last-1 of every split, or all that are named, and their splits.

        One of each split in turn: a report cut short has then looked at all.
        """
        if self.named is not None:
            return in_turn(self.named)
        splits = self.settings.splits
        return in_turn({split: choose(self.splits, split, first, last) for split in splits})

    @property
    def score_key(self) -> Any:
        """The key of the draws that score every reported bound."""
        return key_for(self.experiment.seed, "score")

    def lams(self, points: Points, compiled: Compiled | None = None) -> np.ndarray:
        """Return the mode's own lam of every point."""
        view = (compiled or self.compiled).view
        evaluator = Evaluator(self.experiment.problem, view, self.sizes["train"])
        return evaluator.lams(self.params, points, key_for(self.experiment.seed, "infer"))

    def searcher(
        self,
        points: Points,
        may_go_on: Callable[[], bool] = lambda: True,
        compiled: Compiled | None = None,
    ) -> Searcher:
        """Return the search for lam* of these points."""
        return Searcher(compiled or self.compiled, points, self.settings, may_go_on)

    def selection(self, points: Points) -> Selection:
        """Return the choice among candidates of these points."""
        return Selection(self.compiled, points, self.settings)

    def search(self, points: Points, jobs: Sequence[Job], share: float, what: str) -> None:
        """Search until all jobs are done, but for those that an earlier, killed report has done."""
        for job in jobs:
            job.found = self.ledger.found(points.ids[job.point], job.start)
        left = [job for job in jobs if job.found is None]
        done = len(jobs) - len(left)

        def on_found(job: Job) -> None:
            nonlocal done
            done += 1
            assert job.found is not None
            self.ledger.add_found(points.ids[job.point], job.start, job.found)

        def may_go_on() -> bool:
            self.on_progress(what, done / len(jobs))
            return self.clock.has_time(share)

        self.searcher(points, may_go_on).run(left, on_found)
