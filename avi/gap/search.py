"""The search for lam*: jobs wait for one of a fixed number of lanes until each is certified."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from avi.evaluation import Points
from avi.gap.kernels import Kernels
from avi.settings import GapSettings
from avi.types import Theta


class Found(NamedTuple):
    """Where one search ended, and how sure that is the top."""

    lam: np.ndarray  # [P]
    certificate: float  # nats still to be gained
    certificate_se: float
    positive: bool  # the curvature was; else the certificate is its Fisher form
    guarantee: float  # rigorous upper bound on what is left, NaN where there is none
    converged: bool
    gradient_evaluations: int


@dataclass
class Job:
    """One point searched from one start."""

    point: int  # position among the points
    start: int  # number of the start
    lam: np.ndarray  # [P], where it begins
    state: PyTree = None  # of the local optimiser; None before the first round
    first: int = 0  # steps taken
    spent: int = 0  # gradient evaluations
    found: Found | None = None


@dataclass
class Searcher:
    """Runs jobs through the lanes, the longest waiting first.

    A lane's result depends on its own row, start and step number: not on its neighbours, whose number
    never changes. So a job that is done gives its lane to one that waits, and no number moves by a bit.
    """

    kernels: Kernels
    theta: Theta
    points: Points
    settings: GapSettings
    may_go_on: Callable[[], bool] = field(default=lambda: True)

    def run(self, jobs: Sequence[Job], on_found: Callable[[Job], None]) -> None:
        """Search until every job has found, has spent its budget, or there is no more time."""
        waiting = deque(job for job in jobs if job.found is None)
        while waiting and self.may_go_on():
            batch = [waiting.popleft() for _ in range(min(self.settings.width, len(waiting)))]
            self._round(batch)
            for job in batch:
                if self._done(job):
                    on_found(job)
                else:
                    waiting.append(job)

    def certificates(self, jobs: Sequence[Job]) -> None:
        """Certify the lam where each job stands, without a step."""
        for first in range(0, len(jobs), self.settings.width):
            self._certify(jobs[first : first + self.settings.width])

    def _round(self, batch: Sequence[Job]) -> None:
        new = [job for job in batch if job.state is None]
        if new:
            states = self.kernels.begin(self.theta, *self._rows(new), _stack(new, "lam"))
            for number, job in enumerate(new):
                job.state = jax.tree.map(lambda leaf, number=number: leaf[number], states)
        state = jax.tree.map(lambda *leaves: np.stack(leaves), *(job.state for job in batch))
        start, first = _stack(batch, "start"), _stack(batch, "first")
        states, lams = self.kernels.advance(self.theta, *self._rows(batch), start, first, state)
        for number, job in enumerate(batch):
            job.state = jax.tree.map(lambda leaf, number=number: leaf[number], states)
            job.lam = lams[number]
            job.first += self.kernels.refine.steps
            job.spent += self.kernels.search_evaluations()
        self._certify(batch)

    def _certify(self, batch: Sequence[Job]) -> None:
        start, first = _stack(batch, "start"), _stack(batch, "first")
        lams = _stack(batch, "lam")
        result = self.kernels.certify(self.theta, *self._rows(batch), start, first, lams)
        for number, job in enumerate(batch):
            one: Any = jax.tree.map(lambda leaf, number=number: leaf[number], result)
            job.spent += self.kernels.certify_evaluations(int(one.iterations))
            job.found = Found(
                lam=job.lam,
                certificate=float(one.value),
                certificate_se=float(one.standard_error),
                positive=bool(one.positive),
                guarantee=float(one.guarantee),
                converged=bool(one.value + 2 * one.standard_error < self.settings.tolerance),
                gradient_evaluations=job.spent,
            )

    def _done(self, job: Job) -> bool:
        assert job.found is not None
        return job.found.converged or job.spent >= self.settings.budget

    def _rows(self, batch: Sequence[Job]) -> tuple[PyTree, np.ndarray]:
        index = _stack(batch, "point")
        return jax.tree.map(lambda leaf: leaf[index], self.points.rows), self.points.ids[index]


def _stack(jobs: Sequence[Job], name: str) -> np.ndarray:
    return np.stack([np.asarray(getattr(job, name)) for job in jobs])
