"""The search for lam*: jobs wait for one of a fixed number of lanes until each is certified."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from avi.gap.compiled import Compiled
from avi.gap.endings import Ending
from avi.gap.statistics import mean_and_error
from avi.population import Points
from avi.randomness import key_for
from avi.settings import GapSettings

CONFIDENCE = 2.36  # standard errors: 97.5 % of Student's t with 7 degrees of freedom
BELOW = 3.5  # the same, 99.5 %: one honest certificate of 200 is refused, and made again
ROUNDING = 1e-6  # nats that single precision may be wrong by in a certificate without noise
NEAR = 1.0  # nats: a certificate below it means that a Newton step may be trusted
NOISE = 5.0  # tolerances: below, fresh draws for a Newton step help more than further climbing


class Found(NamedTuple):
    """One lam of a search and how sure it is the top."""

    lam: np.ndarray  # [P]
    certificate: float  # nats still to be gained
    certificate_se: float
    positive: bool  # the curvature was; else the certificate is its Fisher form
    guarantee: float  # limit to what is left with 97.5 % confidence, NaN where theory has none
    ending: Ending
    gradient_evaluations: int

    @property
    def converged(self) -> bool:
        """Whether a confirmed certificate says so, or twice the search where curvature cannot."""
        return self.ending in (Ending.CERTIFIED, Ending.DOUBLED)


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
    newton: np.ndarray | None = None  # [P], where the last certificate's step leads
    escaping: bool = False  # that step leads away from a saddle
    passed: bool = False  # the last certificate, which waits for its confirmation
    noisy: int = 0  # Newton steps in a row that did not halve the certificate
    found: Found | None = None  # the surest so far
    flat: "Flat | None" = None  # where curvature first said nothing
    known: bool = False  # lam is where an earlier search ended: certified before any step


class Flat(NamedTuple):
    """A lam at which the gradient is small and no curvature stands out of its noise."""

    lam: np.ndarray  # [P]
    steps: int  # of the local optimiser that led there


@dataclass
class Searcher:
    """Takes jobs through rounds of the local optimiser and Newton steps until each is certified.

    The local optimiser climbs; within a nat of the top the Newton step of the certificate, which is
    paid for already, does what noise keeps the optimiser from. A certificate that passes is made
    again on fresh draws, and looks along random directions too: that one is reported, and it alone
    can end a search as certified. From a saddle the search goes on along the way out. Where no
    curvature stands out of its noise, the search takes as many steps again: it ends if they gain
    less than the tolerance.

    A lane's result depends on its own row, start and counters, not on its neighbours, whose number
    never changes: a job that is done gives its lane to one that waits, and no number moves by a
    bit.
    """

    compiled: Compiled
    points: Points
    settings: GapSettings
    may_go_on: Callable[[], bool] = field(default=lambda: True)

    def run(self, jobs: Sequence[Job], on_found: Callable[[Job], None]) -> None:
        """Search until every job is certified, has spent its budget, or there is no more time."""
        climbing = deque(job for job in jobs if not job.known)
        uncertain, passed = deque(job for job in jobs if job.known), deque[Job]()
        begun = False  # a report of nothing helps nobody: the first lanes are always searched
        while (climbing or uncertain or passed) and (self.may_go_on() or not begun):
            if len(passed) >= self.compiled.lanes or not (climbing or uncertain):
                self._confirm_next(passed, uncertain, climbing, on_found)
                continue
            if climbing and len(uncertain) < self.compiled.lanes and (begun or not uncertain):
                batch = self._next(climbing)
                self._climb(batch)
                uncertain.extend(batch)
                continue
            begun, batch = True, self._next(uncertain)
            before = [job.found for job in batch]
            self._certify(batch)
            for job, old in zip(batch, before, strict=True):
                if job.passed:
                    passed.append(job)
                else:
                    self._route(job, old, uncertain, climbing, on_found)
        # What has passed when the time is up is not lost for want of its confirmation.
        while passed:
            self._confirm_next(passed, uncertain, climbing, on_found)
        for job in jobs:
            _unsure(job, Ending.CLOCK)

    def certify(self, batch: Sequence[Job]) -> None:
        """Certify the lam where each job stands, without a step; confirm what passes."""
        self._certify(batch)
        self._confirm([job for job in batch if job.passed])

    def _confirm_next(
        self,
        passed: deque[Job],
        uncertain: deque[Job],
        climbing: deque[Job],
        on_found: Callable[[Job], None],
    ) -> None:
        batch = self._next(passed)
        self._confirm(batch)
        for job in batch:
            self._route(job, None, uncertain, climbing, on_found)

    def _route(
        self,
        job: Job,
        before: Found | None,
        uncertain: deque[Job],
        climbing: deque[Job],
        on_found: Callable[[Job], None],
    ) -> None:
        """Tell of a search that ended; else take the job's next step or let it climb."""
        if is_done(job.found, self.compiled.budget):
            _unsure(job, Ending.BUDGET)
            on_found(job)
        elif job.escaping:
            job.lam, job.state, job.escaping = _moved(job), None, False
            climbing.append(job)
        elif self._newton_pays(job, before):
            uncertain.append(job)
        else:
            climbing.append(job)

    def _certify(self, batch: Sequence[Job]) -> None:
        """Certify every job on a few draws: `passed` are those worth a confirmation."""
        for job, one in self._certificates(batch, confirming=False):
            found = self._judge(job, one, Ending.UNCERTIFIED)
            job.passed = self._passes(one) and not self._knows_better(job, one)
            if job.found is None or self._surer(found, job.found):
                job.found = found
            job.found = job.found._replace(gradient_evaluations=job.spent)
            near = bool(one.positive) and float(one.value) < NEAR
            job.newton = one.newton if near or self.compiled.knows_optimum else None

    def _confirm(self, batch: Sequence[Job]) -> None:
        """Certify anew those that passed: how each search ends, if it ends here."""
        if not batch:
            return
        twice = []
        for job, one in self._certificates(batch, confirming=True):
            job.passed = False
            job.found = self._judge(job, one, self._ending(one))
            job.escaping = bool(one.saddle)
            near = bool(one.positive) and float(one.value) < NEAR
            job.newton = one.newton if near or job.escaping else None
            if not one.positive and not one.saddle and self._sure(one):
                steps = max(job.first, self.compiled.refine.steps)
                job.flat = job.flat or Flat(job.lam, steps)
                twice += [job] if steps >= 2 * job.flat.steps else []
        self._compare(twice)

    def _compare(self, batch: Sequence[Job]) -> None:
        """End the jobs to which twice the steps gave less than the tolerance."""
        if not batch:
            return
        rows, key = self._rows(batch), key_for(self.compiled.experiment.seed, "select")
        then, now = (
            self.compiled.values(key, *rows, np.stack(lams))
            for lams in ([job.flat.lam for job in batch if job.flat], [job.lam for job in batch])
        )
        for job, gained in zip(batch, now - then, strict=True):
            gain, error = mean_and_error(gained)
            assert job.found is not None
            if gain + CONFIDENCE * error < self.settings.tolerance:
                job.found = job.found._replace(ending=Ending.DOUBLED)
            else:
                job.flat = Flat(job.lam, job.first)

    def _certificates(self, batch: Sequence[Job], *, confirming: bool) -> Iterator[tuple[Job, Any]]:
        start, number = _stack(batch, "start"), _stack(batch, "certified")
        kernel = self.compiled.confirm if confirming else self.compiled.certify
        result = kernel(*self._rows(batch), start, number, _stack(batch, "lam"))
        for place, job in enumerate(batch):
            one: Any = jax.tree.map(lambda leaf, place=place: leaf[place], result)
            job.certified += 1
            iterations = int(one.iterations)
            job.spent += self.compiled.certify_evaluations(iterations, confirming=confirming)
            yield job, one

    def _climb(self, batch: Sequence[Job]) -> None:
        new = [job for job in batch if job.state is None]
        if new:
            states = self.compiled.begin(*self._rows(new), _stack(new, "lam"))
            for place, job in enumerate(new):
                job.state = jax.tree.map(lambda leaf, place=place: leaf[place], states)
        state = jax.tree.map(lambda *leaves: np.stack(leaves), *(job.state for job in batch))
        start, first = _stack(batch, "start"), _stack(batch, "first")
        states, lams = self.compiled.advance(*self._rows(batch), start, first, state)
        for place, job in enumerate(batch):
            job.state = jax.tree.map(lambda leaf, place=place: leaf[place], states)
            job.lam = lams[place]
            job.first += self.compiled.refine.steps
            job.spent += self.compiled.search_evaluations()

    def _judge(self, job: Job, one: Any, ending: Ending) -> Found:
        return Found(
            lam=job.lam,
            certificate=float(one.value),
            certificate_se=float(one.standard_error),
            positive=bool(one.positive),
            guarantee=float(one.guarantee),
            ending=ending,
            gradient_evaluations=job.spent,
        )

    def _passes(self, one: Any) -> bool:
        """Whether so little seems left to gain that a confirmation is worth its cost."""
        value, error = float(one.value), float(one.standard_error)
        return self.compiled.certifies and value + 2 * error < self.settings.tolerance

    def _sure(self, one: Any) -> bool:
        """Whether a confirming certificate leaves less than the tolerance."""
        value, error = float(one.value), float(one.standard_error)
        tolerance = self.settings.tolerance
        if one.saturated or one.boundary or value < -BELOW * error - ROUNDING:
            return False
        if not (one.hidden <= tolerance and one.rare <= tolerance):  # or is no number
            return False
        return error < tolerance / 2 and value + CONFIDENCE * error < tolerance

    def _knows_better(self, job: Job, one: Any) -> bool:
        """Whether the optimum itself is known and has not been taken yet, however near lam is."""
        return self.compiled.knows_optimum and job.certified == 1 and one.value > ROUNDING

    def _ending(self, one: Any) -> Ending:
        """Return what a confirming certificate says of its lam."""
        value, error = float(one.value), float(one.standard_error)
        if one.saddle:
            return Ending.SADDLE
        if one.boundary:
            return Ending.BOUNDARY
        if one.saturated:
            return Ending.SATURATED
        if not one.hidden <= self.settings.tolerance:
            return Ending.JUMPS
        if not one.rare <= self.settings.tolerance:
            return Ending.TAILS
        if value < -BELOW * error - ROUNDING:
            return Ending.NEGATIVE
        return Ending.CERTIFIED if one.positive and self._sure(one) else Ending.UNCERTIFIED

    def _surer(self, new: Found, old: Found) -> bool:
        """Return whether less can be left to gain at `new`.

        Of two certificates that cannot be trusted, the later is of a longer climb.
        """
        return surer(new, old, certifies=self.compiled.certifies)

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
        return [waiting.popleft() for _ in range(min(self.compiled.lanes, len(waiting)))]

    def _rows(self, batch: Sequence[Job]) -> tuple[PyTree, np.ndarray]:
        index = _stack(batch, "point")
        return jax.tree.map(lambda leaf: leaf[index], self.points.rows), self.points.ids[index]


def is_done(found: Found | None, budget: int) -> bool:
    """Return whether a search has an end of its own or has spent its budget; else it was cut off.

    Where the gradient is exactly zero, or does not see the density, no step leads anywhere.
    """
    if found is None:
        return False
    ended = found.ending in (Ending.SATURATED, Ending.JUMPS, Ending.TAILS)
    return found.converged or ended or found.gradient_evaluations >= budget


def surer(new: Found, old: Found, *, certifies: bool = True) -> bool:
    """Return whether less can be left to gain at `new`; what is not a number is never surer.

    An end that is confirmed comes before one that is not, and a certificate with curvature before
    one without; where neither can be trusted, the later counts. A value below zero is noise: what
    it leaves in doubt is its error.
    """
    left, before = (_most(one) for one in (new, old))
    if np.isnan(left) or np.isnan(before):
        return not np.isnan(left)
    if new.converged != old.converged:
        return new.converged
    if not (certifies and old.positive):
        return True
    return new.positive and left < before


def _most(found: Found) -> float:
    """Return what may be left to gain, two standard errors above a value of at least 0."""
    return float(np.maximum(found.certificate, 0.0)) + 2 * found.certificate_se


def _unsure(job: Job, ending: Ending) -> None:
    """Say why a search ended that no certificate was sure of."""
    if job.found is not None and job.found.ending is Ending.UNCERTIFIED:
        job.found = job.found._replace(ending=ending)


def _moved(job: Job) -> np.ndarray:
    assert job.newton is not None
    return job.newton


def _stack(jobs: Sequence[Job], name: str) -> np.ndarray:
    return np.stack([np.asarray(getattr(job, name)) for job in jobs])
