"""Whether a row's own q stands: certificate, k̂ and a second opinion, and a search where not.

A row is accepted only where a certificate on fresh draws leaves less than the tolerance to gain, no
other start leads higher, and k̂ lets q pass for p(z | x). Where any of them says nothing the row is
flagged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from avi.abilities import Noisy
from avi.gap.audit import Audit
from avi.gap.context import Context
from avi.gap.decomposition import spacing_at, weights_at
from avi.gap.endings import SENTENCES, Ending
from avi.gap.search import CONFIDENCE, Found, Job
from avi.gap.statistics import khat_limit, mean_and_error
from avi.population import Points, rows_at
from avi.results.points import NOT_FINITE
from avi.results.posterior import ACCEPTED, FLAGGED, HEAVY, OTHER_START, REFINED
from avi.settings import GapSettings, InferSettings

NUM_DRAWS = 1000  # of each khat, and of what refining gains
MEANING = {
    **{str(ending): sentence for ending, sentence in SENTENCES.items()},
    HEAVY: "importance weights from q have a heavy tail: q is not close to p(z | x), whose mean "
    "and deviation may be others.",
    OTHER_START: "another start leads to a better λ, and budget=0 searches none.",
    NOT_FINITE: "the bound is not a finite number.",
}


class Judged(NamedTuple):
    """What is to be said of each of n rows, and what refining some of them bought."""

    lam: Float[np.ndarray, "n P"]
    source: tuple[str, ...]
    flags: tuple[str, ...]  # why a row is flagged
    certificate: Float[np.ndarray, " n"]  # nats that lam lacks
    certificate_se: Float[np.ndarray, " n"]
    certified: Bool[np.ndarray, " n"]  # nothing is left to gain at lam
    khat: Float[np.ndarray, " n"]  # of q(z; lam), NaN where the family has none
    ms: Float[np.ndarray, " n"]
    gains: Float[np.ndarray, " r"]  # nats by which the ELBO of each refined row is higher
    seconds: float  # of all refining


def settings_for(gap: GapSettings, wanted: InferSettings) -> GapSettings:
    """Return the settings of the search: those of the run's reports, but for what is wanted."""
    return replace(
        gap,
        tolerance=wanted.tolerance,
        budget=max(1, wanted.budget),
        num_draws=NUM_DRAWS,
        audit=1.0,  # every row has its second opinion
        seconds=None,
        half_width=None,
        rows=None,
    )


@dataclass
class Judge:
    """Says which rows stand; what it has compiled serves the next rows too."""

    context: Context  # with `settings_for`
    _warm: bool = False

    def __call__(
        self, points: Points, lams: np.ndarray, seconds: float, *, refines: bool
    ) -> Judged:
        """Return which rows stand at lams, which were refined, and which are flagged.

        A row's milliseconds are its share of its batch: an equal one of what every row goes
        through, and of refining by gradient evaluations. Compilation is left out.

        Args:
            points: the rows, one or more.
            lams: what the mode gives each, [n, P].
            seconds: that the mode took for all of them.
            refines: whether rows that do not stand are searched, each within the budget.
        """
        if not self._warm:
            _warm(self.context, points, lams)
            self._warm = True
        return _judged(self.context, points, lams, seconds, refines=refines)


def _judged(
    context: Context, points: Points, lams: np.ndarray, seconds: float, *, refines: bool
) -> Judged:
    audit, stopwatch = Audit(context), _Stopwatch()
    own = _certified(context, points, lams)
    seconds += stopwatch.lap()
    searched = _searches(own) if refines else []
    context.search(points, searched, 1.0, "λ* of what does not stand")
    refining = stopwatch.lap()
    found = {job.point: [job] for job in [*own, *searched]}
    better, held = _contests(context, points, found, audit)
    contested = {job.point for job in better + held}
    seconds += stopwatch.lap()
    if refines:
        for job in audit.climbed(points, better) + held:
            found[job.point].append(job)
            searched.append(job)
    tried = {job.point: found[job.point] for job in searched}
    winners = context.selection(points).winners(lams, tried) if tried else {}
    refining += stopwatch.lap()
    ends = [winners[p][1] if p in winners else _found(job) for p, job in enumerate(own)]
    reached = np.stack([one.lam for one in ends])
    khats = np.asarray(weights_at(context, points, reached).khat)
    values = context.compiled.values(context.score_key, points.rows, points.ids, reached)
    flags = [
        _flags(context, one, khat, at_end, contested=not refines and place in contested)
        for place, (one, khat, at_end) in enumerate(zip(ends, khats, values, strict=True))
    ]
    seconds += stopwatch.lap()
    moved = (reached != lams).any(axis=1)
    refined = np.flatnonzero(moved & (np.array(flags) == ""))
    spent = np.zeros(len(points))
    for job in searched:
        spent[job.point] += job.spent
    return Judged(
        lam=reached,
        source=tuple(
            FLAGGED if why else REFINED if far else ACCEPTED
            for why, far in zip(flags, moved, strict=True)
        ),
        flags=tuple(flags),
        certificate=np.array([one.certificate for one in ends]),
        certificate_se=np.array([one.certificate_se for one in ends]),
        certified=np.array([one.ending is Ending.CERTIFIED for one in ends]),
        khat=khats,
        ms=1000 * (seconds / len(points) + refining * spent / max(1.0, spent.sum())),
        gains=_gains(context, points, lams, values, refined),
        seconds=refining,
    )


class _Stopwatch:
    """Seconds since it was last looked at."""

    def __init__(self) -> None:
        self._began = perf_counter()

    def lap(self) -> float:
        """Return them, and begin anew."""
        now = perf_counter()
        seconds, self._began = now - self._began, now
        return seconds


def _warm(context: Context, points: Points, lams: np.ndarray) -> None:
    """Compile what judging takes, on one row."""
    compiled, one = context.compiled, rows_at(points, np.array([0]))
    where, lam, zero = (one.rows, one.ids), lams[:1], np.zeros(1, int)
    compiled.certify(*where, zero, zero, lam)
    compiled.confirm(*where, zero, zero, lam)
    compiled.values(context.score_key, *where, lam)
    weights_at(context, one, lam)
    if not compiled.knows_optimum:
        state = compiled.begin(*where, compiled.second_start(*where))
        compiled.advance(*where, zero, zero, state)


def _certified(context: Context, points: Points, lams: np.ndarray) -> list[Job]:
    """Return the mode's own lam of each row with its certificate, a fresh one where it passes."""
    jobs = [Job(place, 0, lam) for place, lam in enumerate(lams)]
    searcher, width = context.searcher(points), context.settings.width
    for first in range(0, len(jobs), width):
        context.on_progress("certificates", first / len(jobs))
        searcher.certify(jobs[first : first + width])
    return jobs


def _searches(own: Sequence[Job]) -> list[Job]:
    """Return a search from each lam that does not stand, which begins with fresh draws of it."""
    return [
        Job(job.point, 0, job.lam, known=True, certified=job.certified)
        for job in own
        if not _found(job).converged
    ]


def _contests(
    context: Context, points: Points, found: dict[int, list[Job]], audit: Audit
) -> tuple[list[Job], list[Job]]:
    """Return the searches from other starts that lead higher than a row's own hill, and starts.

    A certificate knows the height of its own hill: what is above that is another one. It counts
    from half the tolerance on, as one round of the search need not have come to its top.
    """
    if context.compiled.knows_optimum:
        return [], []
    tolerance = context.settings.tolerance
    tops = {
        place: max(tolerance / 2, one.certificate + CONFIDENCE * one.certificate_se)
        for place, one in ((place, _found(jobs[-1])) for place, jobs in found.items())
        if one.converged
    }
    return audit.opinions(points, found, tops)


def _flags(
    context: Context, found: Found, khat: float, values: np.ndarray, *, contested: bool
) -> str:
    """Return what speaks against a row, nothing where it is accepted."""
    settings = context.settings
    value, _ = mean_and_error(values)
    heavy = isinstance(context.experiment.problem.family, Noisy) and not (
        khat < khat_limit(settings.num_draws)
    )
    raised = {
        str(found.ending): found.ending is not Ending.CERTIFIED,
        OTHER_START: contested,
        HEAVY: heavy,
        str(Ending.PRECISION): spacing_at(value) > settings.tolerance / 2,
        NOT_FINITE: not np.isfinite(value),
    }
    return " ".join(name for name, holds in raised.items() if holds)


def _gains(
    context: Context, points: Points, lams: np.ndarray, values: np.ndarray, refined: np.ndarray
) -> np.ndarray:
    """Return by how much the ELBO of each refined row is above that of its own q, same draws."""
    if not len(refined):
        return np.zeros(0)
    some = rows_at(points, refined)
    before = context.compiled.values(context.score_key, some.rows, some.ids, lams[refined])
    return (values[refined] - before).mean(axis=1)


def _found(job: Job) -> Found:
    assert job.found is not None
    return job.found
