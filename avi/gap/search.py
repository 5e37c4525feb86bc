"""The search for lam*: jobs wait for one of a fixed number of lanes until each is certified."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from avi.gap.kernels import Kernels
from avi.population import Points
from avi.settings import GapSettings
from avi.types import Theta

NEAR = 1.0  # nats: a certificate below it means that a Newton step may be trusted
NOISE = 5.0  # tolerances: below, fresh draws for a Newton step help more than further climbing


class Found(NamedTuple):
    """One lam of a search and how sure it is the top."""

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
    lam: np.ndarray  # [P], to be certified next
    state: PyTree = None  # of the local optimiser; None before its first round
    first: int = 0  # steps it has taken
    certified: int = 0  # certificates made
    spent: int = 0  # gradient evaluations
    newton: np.ndarray | None = None  # [P], where the last certificate's Newton step leads
    noisy: int = 0  # Newton steps in a row that did not halve the certificate
    found: Found | None = None  # the surest so far


@dataclass
class Searcher:
    """Takes jobs through rounds of the local optimiser and Newton steps until each is certified.

    The local optimiser climbs; within a nat of the top the Newton step of the certificate, which is
    paid for already, does what noise keeps the optimiser from. A lane's result depends on its own
    row, start and counters, not on its neighbours, whose number never changes: a job that is done
    gives its lane to one that waits, and no number moves by a bit.
    """

    kernels: Kernels
    theta: Theta
    points: Points
    settings: GapSettings
    may_go_on: Callable[[], bool] = field(default=lambda: True)

    def run(self, jobs: Sequence[Job], on_found: Callable[[Job], None]) -> None:
        """Search until every job is certified, has spent its budget, or there is no more time."""
        climbing, uncertain = deque(jobs), deque[Job]()
        begun = False  # a report of nothing helps nobody: the first lanes are always searched
        while (climbing or uncertain) and (self.may_go_on() or not begun):
            if climbing and len(uncertain) < self.settings.width and (begun or not uncertain):
                batch = self._next(climbing)
                self._climb(batch)
                uncertain.extend(batch)
                continue
            begun, batch = True, self._next(uncertain)
            before = [job.found for job in batch]
            self.certify(batch)
            for job, old in zip(batch, before, strict=True):
                if is_done(job.found, self.settings):
                    on_found(job)
                elif self._newton_pays(job, old):
                    uncertain.append(job)
                else:
                    climbing.append(job)

    def certify(self, batch: Sequence[Job]) -> None:
        """Certify the lam where each job stands, without a step."""
        start, number = _stack(batch, "start"), _stack(batch, "certified")
        lams = _stack(batch, "lam")
        result = self.kernels.certify(self.theta, *self._rows(batch), start, number, lams)
        for place, job in enumerate(batch):
            one: Any = jax.tree.map(lambda leaf, place=place: leaf[place], result)
            job.certified += 1
            job.spent += self.kernels.certify_evaluations(int(one.iterations))
            found = self._judge(job, one)
            if job.found is None or found.converged or self._surer(found, job.found):
                job.found = found
            job.found = job.found._replace(gradient_evaluations=job.spent)
            near = bool(one.positive) and float(one.value) < NEAR
            job.newton = one.newton if near else None

    def _climb(self, batch: Sequence[Job]) -> None:
        new = [job for job in batch if job.state is None]
        if new:
            states = self.kernels.begin(self.theta, *self._rows(new), _stack(new, "lam"))
            for place, job in enumerate(new):
                job.state = jax.tree.map(lambda leaf, place=place: leaf[place], states)
        state = jax.tree.map(lambda *leaves: np.stack(leaves), *(job.state for job in batch))
        start, first = _stack(batch, "start"), _stack(batch, "first")
        states, lams = self.kernels.advance(self.theta, *self._rows(batch), start, first, state)
        for place, job in enumerate(batch):
            job.state = jax.tree.map(lambda leaf, place=place: leaf[place], states)
            job.lam = lams[place]
            job.first += self.kernels.refine.steps
            job.spent += self.kernels.search_evaluations()

    def _judge(self, job: Job, one: Any) -> Found:
        value, error = float(one.value), float(one.standard_error)
        positive = bool(one.positive)
        return Found(
            lam=job.lam,
            certificate=value,
            certificate_se=error,
            positive=positive,
            guarantee=float(one.guarantee),
            converged=self._trusted(positive) and value + 2 * error < self.settings.tolerance,
            gradient_evaluations=job.spent,
        )

    def _trusted(self, positive: bool) -> bool:
        return self.kernels.certifies and (positive or self.kernels.fisher_form)

    def _surer(self, new: Found, old: Found) -> bool:
        """Return whether less can be left to gain at `new`; what is not a number is never surer.

        Of two certificates that cannot be trusted, the later is of a longer climb.
        """
        left, before = (one.certificate + 2 * one.certificate_se for one in (new, old))
        if np.isnan(left) or np.isnan(before):
            return not np.isnan(left)
        if not self._trusted(old.positive):
            return True
        return self._trusted(new.positive) and left < before

    def _newton_pays(self, job: Job, before: Found | None) -> bool:
        """Move the job by its Newton step, unless the last one did not help.

        Close to the top, steps that do not help are those of noise: the j-th is taken by 1 / j of
        its length, which averages them (Robbins & Monro 1951).
        """
        assert job.found is not None
        # Half of a number below zero is above it: noise, which has nothing left to halve.
        halved = before is None or job.found.certificate < 0.5 * before.certificate > 0
        close = job.found.certificate < NOISE * self.settings.tolerance
        if job.newton is None or not (halved or close):
            return False
        job.noisy = 0 if halved else job.noisy + 1
        job.lam = job.lam + (job.newton - job.lam) / (1 + job.noisy)
        return True

    def _next(self, waiting: deque[Job]) -> list[Job]:
        return [waiting.popleft() for _ in range(min(self.settings.width, len(waiting)))]

    def _rows(self, batch: Sequence[Job]) -> tuple[PyTree, np.ndarray]:
        index = _stack(batch, "point")
        return jax.tree.map(lambda leaf: leaf[index], self.points.rows), self.points.ids[index]


def is_done(found: Found | None, settings: GapSettings) -> bool:
    """Return whether a search was certified or has spent its budget; else it was cut off."""
    return found is not None and (found.converged or found.gradient_evaluations >= settings.budget)


def _stack(jobs: Sequence[Job], name: str) -> np.ndarray:
    return np.stack([np.asarray(getattr(job, name)) for job in jobs])
