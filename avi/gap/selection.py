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


@dataclass
class Selection:
    """Scores candidates on the selection draws of each point."""

    compiled: Compiled
    points: Points
    settings: GapSettings

    def values(self, chosen: Sequence[int], lams: np.ndarray) -> np.ndarray:
        """Return the ELBO of a lam per chosen point on each pair of the selection draws."""
        index = np.array(chosen)
        rows = jax.tree.map(lambda leaf: leaf[index], self.points.rows)
        key = key_for(self.compiled.experiment.seed, "select")
        return self.compiled.values(key, rows, self.points.ids[index], lams)

    def lead(self, chosen: Sequence[int], lams: np.ndarray, others: np.ndarray) -> list[Lead]:
        """Return how far each chosen point's lam is above its other one."""
        return leads_over(self.values(chosen, lams), self.values(chosen, others))

    def leads(self, found: dict[int, list[Job]]) -> dict[int, list[Lead]]:
        """Return per point how far each search ended above the first, itself included."""
        pairs = [(point, job) for point, jobs in found.items() for job in jobs]
        lams = np.stack([_found(job).lam for _, job in pairs])
        values = iter(self.values([point for point, _ in pairs], lams))
        leads = {}
        for point, jobs in found.items():
            scores = [next(values) for _ in jobs]
            leads[point] = [mean_and_error(score - scores[0]) for score in scores]
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


def leads_over(values: np.ndarray, others: np.ndarray) -> list[Lead]:
    """Return how far each row of values is above the other one on the same draws."""
    return [mean_and_error(one - other) for one, other in zip(values, others, strict=True)]


def is_above(lead: Lead, least: float) -> bool:
    """Return whether a candidate is above another by more than `least`, beyond all doubt."""
    value, error = lead
    return value - BELOW * error > least


def _found(job: Job) -> Found:
    assert job.found is not None
    return job.found
