"""What the search for lam* may have missed: other starts on a random share, and a second search."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from avi.gap.context import Context
from avi.gap.search import Found, Job, is_done
from avi.gap.selection import Lead, best_of, certain
from avi.gap.starts import START_NAMES
from avi.population import Points
from avi.process.grammar import many, verb
from avi.randomness import key_for
from avi.results.gap import AuditRecord, Doubling, StartRecord
from avi.settings import Split

AUDIT_SHARE = 0.75  # of the seconds: later no audit begins
FEWEST = 30  # rows of a split, or all: with 95 % confidence fewer than 1 in 10 gain if none does
WORTH_A_SEARCH = 0.01  # nats that other starts must find before all points get them
SECOND = len(START_NAMES) - 1  # the start number of second opinions
AGAIN = len(START_NAMES)  # that of a search that begins at lam*


@dataclass
class Audit:
    """Tries other starts and doubled searches, and keeps what they led to."""

    context: Context
    leads: dict[int, list[Lead]] = field(default_factory=dict)  # row id: per start, over the mode's
    doubled: dict[int, Lead] = field(default_factory=dict)  # row id: a second search, over lam*
    escalated: bool = False  # all points were searched from other starts
    asked: int = 0  # points with a second opinion
    gained: int = 0  # of which it led to another search
    counts: Counter[tuple[str, Split]] = field(default_factory=Counter)  # rows looked at so far

    def other_starts(
        self, points: Points, of_split: Sequence[Split], found: dict[int, list[Job]]
    ) -> dict[int, list[Job]]:
        """Return `found` with searches from other starts: of some points, of all where it pays."""
        found = {point: list(jobs) for point, jobs in found.items()}
        audited = self._chosen("starts", points, of_split, found)
        if not audited:
            return found
        if not self.context.clock.has_time(AUDIT_SHARE):
            self.context.notes.skip("no other starts were tried: there was no time for the audit.")
            return found
        gains = self._search(points, audited, found)
        paying = {of_split[p] for p in gains if gains[p] > WORTH_A_SEARCH}
        others = [p for p in found if of_split[p] in paying and p not in audited]
        if not others:
            return found
        if not self.context.clock.has_time(AUDIT_SHARE):
            self.context.notes.skip(
                f"other starts for {many(len(others), 'more row')}, where the audit gained: no "
                "time left."
            )
            return found
        self.escalated = len(self._search(points, others, found)) == len(others)
        return found

    def second_opinions(self, points: Points, found: dict[int, list[Job]]) -> dict[int, list[Job]]:
        """Return `found` with a search from a second start for every point where one pays.

        One round of the local optimiser from the best of several modes shows whether
        there is a better hill; only there is it climbed to the top.
        """
        context = self.context
        if context.compiled.knows_optimum or not context.settings.audit:
            return found
        found = {point: list(jobs) for point, jobs in found.items()}
        better, held = self.opinions(points, found)
        for job in self.climbed(points, better) + held:
            if job.found is not None:
                found[job.point].append(job)
                self.gained += 1
        return found

    def opinions(
        self,
        points: Points,
        found: dict[int, list[Job]],
        least: Mapping[int, float] = MappingProxyType({}),
    ) -> tuple[list[Job], list[Job]]:
        """Ask every point, and return the searches worth going on with, and starts above tops.

        `least`: the nats beyond doubt from which one is worth it; any, where nothing is said.
        """
        context = self.context
        waiting, better, held = list(found), list[Job](), list[Job]()
        while waiting and context.clock.has_time(AUDIT_SHARE):
            context.on_progress("second opinions", 1 - len(waiting) / len(found))
            asked = waiting[: context.compiled.lanes]
            waiting = waiting[context.compiled.lanes :]
            climbing, stayed = self._ask(points, asked, found, least)
            better, held = better + climbing, held + stayed
            self.asked += len(asked)
        if waiting:
            context.notes.skip(f"a second opinion on {many(len(waiting), 'row')}: no time left.")
        return better, held

    def climbed(self, points: Points, better: list[Job]) -> list[Job]:
        """Search on from opinions that lead higher; return the ends, and the starts above them."""
        if not better:
            return []
        starts = _lams(better)
        self.context.search(points, better, AUDIT_SHARE, "λ* from second opinions")
        return better + self._held(points, better, starts)

    def _ask(
        self,
        points: Points,
        asked: Sequence[int],
        found: dict[int, list[Job]],
        least: Mapping[int, float],
    ) -> tuple[list[Job], list[Job]]:
        """Return the searches worth going on with, and the starts above the tops found so far."""
        compiled, index = self.context.compiled, np.array(asked)
        rows = jax.tree.map(lambda leaf: leaf[index], points.rows)
        ids = points.ids[index]
        starts = compiled.second_start(rows, ids)
        state = compiled.begin(rows, ids, starts)
        number = np.full(len(asked), SECOND)
        _, ends = compiled.advance(rows, ids, number, np.zeros(len(asked), int), state)
        tops = np.stack([_end(found[point][0]) for point in asked])
        selection = self.context.selection(points)
        leads = selection.lead(asked, ends, tops)
        pays = [
            certain(lead) > least.get(point, 0.0) for point, lead in zip(asked, leads, strict=True)
        ]
        better = [Job(p, SECOND, end) for p, end, yes in zip(asked, ends, pays, strict=True) if yes]
        rest = [place for place, yes in enumerate(pays) if not yes]
        if not rest:
            return better, []
        jobs = [Job(asked[place], SECOND, starts[place]) for place in rest]
        above = selection.lead([asked[place] for place in rest], starts[rest], tops[rest])
        return better, selection.held(jobs, starts[rest], above)

    def search_again(
        self, points: Points, of_split: Sequence[Split], winners: dict[int, tuple[str, Found]]
    ) -> None:
        """Give the chosen points as much of a search again, from lam*, and note what it gains."""
        context = self.context
        budget = context.compiled.budget
        ended = {point: one for point, one in winners.items() if is_done(one[1], budget)}
        chosen = self._chosen("again", points, of_split, ended)
        if not chosen:
            return
        if not context.clock.has_time(AUDIT_SHARE):
            context.notes.skip("a second search from λ*: there was no time for it.")
            return
        context.on_progress("a second search from λ*", 0.0)
        best = np.stack([winners[point][1].lam for point in chosen])
        jobs = [Job(point, AGAIN, lam) for point, lam in zip(chosen, best, strict=True)]
        context.searcher(points).run(jobs, lambda job: None)
        ends = np.stack([job.lam if job.found is None else job.found.lam for job in jobs])
        leads = context.selection(points).lead(chosen, ends, best)
        self.doubled |= {int(points.ids[p]): lead for p, lead in zip(chosen, leads, strict=True)}

    def record(self) -> AuditRecord:
        """Return what other starts and second searches gained, in nats."""
        settings = self.context.settings
        gains = np.array([certain(leads[best_of(leads)]) for leads in self.leads.values()])
        return AuditRecord(
            share=settings.audit,
            points=len(gains),
            improved=int(np.sum(gains > settings.tolerance)),
            largest=float(gains.max(initial=-np.inf)),
            all_points=self.escalated,
            starts=tuple(map(self._start, range(1, SECOND))) if self.leads else (),
            doubling=self._doubling(),
            second_opinions=self.asked,
            second_gains=self.gained,
        )

    def _start(self, number: int) -> StartRecord:
        """Return how often one start ended elsewhere than the mode's own lam, and on which side."""
        ends = [leads[number] for leads in self.leads.values() if number < len(leads)]
        higher = sum(certain(lead) > WORTH_A_SEARCH for lead in ends)
        lower = sum(certain((-lead, error)) > WORTH_A_SEARCH for lead, error in ends)
        share = (higher + lower) / len(ends) if ends else float("nan")
        return StartRecord(START_NAMES[number], len(ends), higher, lower, share)

    def _doubling(self) -> Doubling | None:
        if not self.doubled:
            return None
        gains = np.array([lead for lead, _ in self.doubled.values()])
        noise = np.array([error for _, error in self.doubled.values()])
        spread = float(gains.std(ddof=1)) if len(gains) > 1 else float(noise[0])
        mean, se = float(gains.mean()), spread / np.sqrt(len(gains))
        ok = bool(mean + 2 * se < self.context.settings.tolerance)
        return Doubling(len(gains), mean, float(se), ok)

    def _chosen(
        self, what: str, points: Points, of_split: Sequence[Split], candidates: dict[int, Any]
    ) -> list[int]:
        """Return a random share of the candidates, and at least FEWEST of each split.

        The same rows in every report: those whose own draw is small. Of rows that are added later
        only as many as the split still lacks.
        """
        share = self.context.settings.audit
        if not share:
            return []
        key = key_for(self.context.experiment.seed, "audit")
        draw = jax.vmap(lambda row: jax.random.uniform(jax.random.fold_in(key, row)))
        draws = np.asarray(draw(points.ids))
        chosen = set()
        for split in dict.fromkeys(of_split):
            own = sorted((p for p in candidates if of_split[p] == split), key=lambda p: draws[p])
            least = max(0, FEWEST - self.counts[what, split])
            taken = [p for rank, p in enumerate(own) if draws[p] < share or rank < least]
            self.counts[what, split] += len(taken)
            chosen |= set(taken)
        return [point for point in candidates if point in chosen]

    def _search(
        self, points: Points, chosen: Sequence[int], found: dict[int, list[Job]]
    ) -> dict[int, float]:
        """Search from the other starts and return what they gain beyond doubt.

        A point of which the clock cut a search off, the mode's own or another, does not count: such
        an end says nothing. Its other searches are candidates for lam* all the same.
        """
        context = self.context
        index = np.array(chosen)
        rows = jax.tree.map(lambda leaf: leaf[index], points.rows)
        jobs = []
        for start, kernel in enumerate(context.compiled.starts, start=1):
            lams = kernel(rows, points.ids[index])
            jobs += [Job(point, start, lam) for point, lam in zip(chosen, lams, strict=True)]
        starts = _lams(jobs)
        context.search(points, jobs, AUDIT_SHARE, "λ* from other starts")
        budget = context.compiled.budget
        own = [found[point][0] for point in chosen]
        cut_off = {job.point for job in own + jobs if not is_done(job.found, budget)}
        for job in jobs + self._held(points, jobs, starts):
            if is_done(job.found, budget):
                found[job.point].append(job)
        if cut_off:
            context.notes.skip(
                f"other starts of {len(cut_off)} of {len(chosen)} rows "
                f"{verb(len(cut_off), 'do')} not count: there was no time to search to the end."
            )
        whole = [point for point in chosen if point not in cut_off]
        if not whole:
            return {}
        leads = context.selection(points).leads({point: found[point] for point in whole})
        self.leads |= {int(points.ids[point]): leads[point] for point in whole}
        return {point: certain(leads[point][best_of(leads[point])]) for point in whole}

    def _held(self, points: Points, jobs: Sequence[Job], starts: np.ndarray) -> list[Job]:
        """Return the starts whose searches ended below them."""
        ended = [place for place, job in enumerate(jobs) if job.found is not None]
        if not ended:
            return []
        chosen, begun = [jobs[place] for place in ended], starts[ended]
        selection = self.context.selection(points)
        ends = np.stack([_end(job) for job in chosen])
        leads = selection.lead([job.point for job in chosen], begun, ends)
        return selection.held(chosen, begun, leads)


def _lams(jobs: Sequence[Job]) -> np.ndarray:
    """Return where the jobs stand."""
    return np.stack([job.lam for job in jobs])


def _end(job: Job) -> np.ndarray:
    return job.lam if job.found is None else job.found.lam
