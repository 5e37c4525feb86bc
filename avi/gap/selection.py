"""The choice of lam* among candidates, on draws that no reported bound uses."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from avi.gap.compiled import Compiled
from avi.gap.endings import Ending
from avi.gap.search import BELOW, Found, Job, Searcher, surer
from avi.gap.starts import START_NAMES
from avi.gap.statistics import mean_and_error
from avi.population import Points
from avi.randomness import key_for
from avi.settings import GapSettings

Lead = tuple[float, float]  # nats of one candidate above another on shared draws, standard error
MORE = 16  # times as many draws, where two candidates are so near that the first cannot tell


@dataclass
class Selection:
    """Scores candidates on the selection draws of each point."""

    compiled: Compiled
    points: Points
    settings: GapSettings

    def lead(self, chosen: Sequence[int], lams: np.ndarray, others: np.ndarray) -> list[Lead]:
        """Return how far each chosen point's lam is above its other one.

        Where the draws cannot tell, and it matters, many more decide.
        """
        index = np.array(chosen, int)
        apart = self._apart(index, lams, others, 0)
        leads = [mean_and_error(one) for one in apart]
        open_ = np.array([n for n, one in enumerate(leads) if self._is_open(one)], int)
        if open_.size:
            more = [
                self._apart(index[open_], lams[open_], others[open_], time)
                for time in range(1, MORE + 1)
            ]
            for n, one in zip(open_, np.concatenate([apart[open_], *more], axis=1), strict=True):
                leads[n] = mean_and_error(one)
        return leads

    def _apart(
        self, index: np.ndarray, lams: np.ndarray, others: np.ndarray, time: int
    ) -> np.ndarray:
        """Return by how much the ELBO of lam is higher on each pair of selection draws."""
        rows = jax.tree.map(lambda leaf: leaf[index], self.points.rows)
        key = key_for(self.compiled.experiment.seed, "select")
        key = jax.random.fold_in(key, time) if time else key
        one, other = (
            self.compiled.values(key, rows, self.points.ids[index], ends) for ends in (lams, others)
        )
        return one - other

    def _is_open(self, lead: Lead) -> bool:
        """Return whether a lead may be of either sign and of more than the tolerance."""
        value, error = np.abs(lead)
        return bool(value <= 2 * error and value + 2 * error > self.settings.tolerance)

    def leads(self, found: dict[int, list[Job]]) -> dict[int, list[Lead]]:
        """Return per point how far each search ended above the first, itself included."""
        pairs = [(point, job) for point, jobs in found.items() for job in jobs[1:]]
        leads = {point: [(0.0, 0.0)] for point in found}
        if pairs:
            chosen = [point for point, _ in pairs]
            lams = np.stack([_found(job).lam for _, job in pairs])
            firsts = np.stack([_found(found[point][0]).lam for point in chosen])
            for point, lead in zip(chosen, self.lead(chosen, lams, firsts), strict=True):
                leads[point].append(lead)
        return leads

    def held(self, chosen: Sequence[Job], starts: np.ndarray, leads: Sequence[Lead]) -> list[Job]:
        """Return the starts that are above what their own searches led to beyond doubt, as ends.

        A gradient that sees what the bound gains does not lead down: they are not certified.
        """
        jobs = [
            Job(job.point, job.start, start)
            for job, start, lead in zip(chosen, starts, leads, strict=True)
            if is_above(lead, self.settings.tolerance)
        ]
        self._certify(jobs)
        for job in jobs:
            job.found = _found(job)._replace(ending=Ending.JUMPS)
        return jobs

    def winners(
        self, lams: np.ndarray, found: dict[int, list[Job]]
    ) -> dict[int, tuple[str, Found]]:
        """Return for every point the name of the winning start and what was found from there.

        The mode's own lam is always a candidate. Where the draws cannot tell it from the best
        search, the smaller certificate decides.
        """
        best = {point: found[point][best_of(leads)] for point, leads in self.leads(found).items()}
        points = list(best)
        ends = np.stack([_found(best[point]).lam for point in points])
        leads = zip(points, self.lead(points, ends, lams[points]), strict=True)
        # Written so that a lead that is not a number is in doubt, too.
        doubtful = {p: lead < -2 * error for p, (lead, error) in leads if not lead > 2 * error}
        winners = {point: (START_NAMES[job.start], _found(job)) for point, job in best.items()}
        for job in self._certified(list(doubtful), lams):
            mine, other = _found(job), winners[job.point][1]
            if doubtful[job.point] or surer(mine, other):
                spent = other.gradient_evaluations + mine.gradient_evaluations
                winners[job.point] = ("mode", mine._replace(gradient_evaluations=spent))
        return winners

    def _certified(self, chosen: Sequence[int], lams: np.ndarray) -> list[Job]:
        jobs = [Job(point, 0, lams[point]) for point in chosen]
        self._certify(jobs)
        return jobs

    def _certify(self, jobs: Sequence[Job]) -> None:
        searcher = Searcher(self.compiled, self.points, self.settings)
        for first in range(0, len(jobs), self.compiled.lanes):
            searcher.certify(jobs[first : first + self.compiled.lanes])


def best_of(leads: Sequence[Lead]) -> int:
    """Return which search is the highest beyond doubt, the first unless another leads by 2 se."""
    return int(np.argmax([certain(lead) for lead in leads]))


def certain(lead: Lead) -> float:
    """Return the nats that a lead has beyond doubt: less two standard errors, at least 0."""
    value = lead[0] - 2 * lead[1]
    return value if value > 0 else 0.0


def is_above(lead: Lead, least: float) -> bool:
    """Return whether a candidate is above another by more than `least`, beyond all doubt."""
    value, error = lead
    return value - BELOW * error > least


def _found(job: Job) -> Found:
    assert job.found is not None
    return job.found
