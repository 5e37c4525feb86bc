"""The gap report: rows, lam*, bounds on shared draws, evidence, and what may be said of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from avi.abilities import Bidirectional, Reparametrised, Tractable, Weighted
from avi.engine.evaluator import Evaluator
from avi.experiment import Experiment
from avi.gap.audit import Audit
from avi.gap.decomposition import Decomposition, Evidenced, Place, decompose, withheld
from avi.gap.files import write
from avi.gap.frontier import converged, frontier
from avi.gap.kernels import Kernels
from avi.gap.parts import Parts, identity_of
from avi.gap.same_bound import reported_bound, same_bound
from avi.gap.sandwich import settle
from avi.gap.search import Found, Job, Searcher
from avi.gap.selection import Selection
from avi.gap.summary import summarise, usable_evidence
from avi.population import Points, choose, chosen, rows_at, sizes_of
from avi.randomness import key_for
from avi.rundir import RunDir
from avi.settings import SPLITS, GapSettings, Split
from avi.types import Estimate, Params, Splits

SEARCH_SHARE = 0.6  # of the seconds, the rest is for the audit, the scores and the evidence
FIRST_POINTS = 100  # per split, where doubling for half_width begins
FEWEST_DRAWS = 100  # whose tail has a shape
# What a point's own numbers depend on: more points, or another clock, keep those already there.
DECISIVE = ("num_draws", "search_draws", "width", "budget", "tolerance")

Progress = Callable[[str, float], None]  # what is going on, and the share of it that is done


def report(
    experiment: Experiment,
    params: Params,
    splits: Splits,
    *,
    settings: GapSettings,
    run: Path | RunDir | None,
    on_progress: Progress | None = None,
    identity: str | None = None,
) -> dict[str, Any]:
    """Measure the gaps, write gap/points.csv and gap/summary.json in `run`, and return the summary.

    Args:
        experiment: model, family, inference, evidence and local optimiser.
        params: theta and phi of the checkpoint.
        splits: the rows.
        settings: how many rows, draws and gradient evaluations; not always those of the experiment.
        run: the folder of the run; None writes nothing.
        on_progress: hears what is going on; may raise to stop the report.
        identity: whatever else decides the numbers. With it, a report that was killed goes on where
            it was; None starts afresh.
    """
    folder = run.path if isinstance(run, RunDir) else run
    description = repr((identity, experiment.seed, *(getattr(settings, n) for n in DECISIVE)))
    keep = folder is not None and identity is not None
    parts = Parts(
        folder / "gap" / "parts" if keep and folder else None, identity_of(params, description)
    )
    measurement = Measurement(experiment, params, splits, settings, parts, on_progress or _silence)
    summary, rows = measurement.run()
    if folder is not None:
        write(folder / "gap", summary, rows, measurement.observations(summary["worst"]))
    return summary


def _silence(what: str, share: float) -> None:
    del what, share


@dataclass
class Measurement:
    """One report under way."""

    experiment: Experiment
    params: Params
    splits: Splits
    settings: GapSettings
    parts: Parts
    on_progress: Progress
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = perf_counter()
        self.kernels = Kernels(self.experiment, self.settings, self.experiment.dataset.fixed().view)
        size = self.experiment.problem.family.num_params
        self.known = {(row, start): found for row, start, found in self.parts.found(size)}
        self.estimates = {(row, by): (lam, one) for row, by, lam, one in self.parts.estimates()}
        self.sizes = sizes_of(self.splits)
        self.evidence = self.experiment.evidence
        self.closed: dict[int, Estimate] = {}  # row id: evidence that does not depend on lam
        self.sandwich: dict[str, Any] | None = None
        self.doublings = 0  # of the points, for half_width
        self.complete = True  # no row and no evidence was dropped for lack of time
        self.frontiers: dict[str, list[dict[str, Any]]] = {}
        self.same_bounds: dict[Split, dict[str, Any]] = {}
        self.audit = Audit(self)

    def run(self) -> tuple[dict[str, Any], list[Decomposition]]:
        """Return the summary and the decomposition of every point."""
        rows: list[Decomposition] = []
        sizes = self.sizes
        first, last = 0, self.settings.num_points
        if self.settings.half_width is not None:
            last = min(last, FIRST_POINTS)
        while True:
            rows += self._measure(first, last)
            summary = summarise(self, rows, sizes)
            if not self._needs_more(summary, last, max(sizes[s] for s in self.settings.splits)):
                break
            first, last = last, 2 * last
            self.doublings += 1
        if not usable_evidence(rows, self.evidence):
            rows = [withheld(row) for row in rows]
        return summary, rows

    def observations(self, worst: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Return the observations themselves of the listed rows; none if x is not one array."""
        sizes, found = list(self.sizes.values()), []
        for one in worst:
            place = one["row"] - sum(sizes[: SPLITS.index(one["split"])])
            stored = getattr(self.splits, one["split"])
            row = jax.tree.map(lambda leaf, place=place: leaf[place], stored)
            x = self.kernels.view(row, jnp.asarray(one["row"]), jnp.zeros((), jnp.int32))
            if not isinstance(x, jax.Array):
                return {}
            found.append(np.asarray(x))
        return {"input_rows": np.array([one["row"] for one in worst]), "inputs": np.stack(found)}

    def has_time(self, share: float = 1.0) -> bool:
        """Whether new work may start; `share` of the seconds are for what comes before."""
        limit = self.settings.seconds
        return limit is None or perf_counter() - self.began < share * limit

    @cached_property
    def simulated_kernels(self) -> Kernels:
        """The kernels for rows that are observations already: no view changes them."""
        return Kernels(self.experiment, self.settings, lambda row, number, visit: row)

    @property
    def seconds(self) -> float:
        """Since the report began."""
        return perf_counter() - self.began

    def _needs_more(self, summary: dict[str, Any], last: int, size: int) -> bool:
        target = self.settings.half_width
        if target is None or last >= size or not self.has_time() or summary["not_finite"]:
            return False
        intervals = [one["amortization_gap"]["interval"] for one in summary["splits"].values()]
        return any(one is None or (one[1] - one[0]) / 2 > target for one in intervals)

    def _measure(self, first: int, last: int) -> list[Decomposition]:
        points, of_split = self._choose(first, last)
        self._known_evidence(points)
        lams = self._lams(points)
        theta = self.params.theta
        jobs = self._search(points, lams)
        found = {job.point: [job] for job in jobs if job.found is not None}
        if lost := len(points) - len(found):
            self.complete = False
            self.skipped.append(
                f"{lost} of {len(points)} rows were not searched within "
                f"{self.settings.seconds:g} seconds and are left out."
            )
        self.audit.other_starts(points, of_split, found)
        winners = Selection(self.kernels, theta, points, self.settings).winners(lams, found)
        self.audit.search_again(points, of_split, winners)
        rows = self._decompose(points, of_split, lams, winners)
        self._frontiers(points, of_split, lams, rows)
        problem = self.experiment.problem
        if problem.bound_name != reported_bound(problem) and not self.same_bounds:
            self.on_progress("the gap in the trained bound", 0.0)
            self.same_bounds = same_bound(self, points, of_split, lams)
        return rows

    def _frontiers(
        self,
        points: Points,
        of_split: list[Split],
        lams: np.ndarray,
        rows: Sequence[Decomposition],
    ) -> None:
        if not self.settings.frontier or self.frontiers:
            return
        if not self.has_time():
            self.skipped.append("the frontier: no time left.")
            return
        for split in self.settings.splits:
            index = chosen(points, of_split, split, self.settings.frontier)
            curve = frontier(self, rows_at(points, index), split, lams[index])
            ids = set(points.ids[index].tolist())
            own = [row for row in rows if row.row in ids]
            self.frontiers[split] = [*curve, converged(own, curve)] if own else curve

    def _choose(self, first: int, last: int) -> tuple[Points, list[Split]]:
        chosen = {split: choose(self.splits, split, first, last) for split in self.settings.splits}
        of_split = [split for split, points in chosen.items() for _ in points.ids]
        # One row of each split in turn: a report cut short has looked at all of them.
        rank = np.concatenate([np.arange(len(points)) for points in chosen.values()])
        order = np.argsort(rank, kind="stable")
        rows = jax.tree.map(
            lambda *leaves: np.concatenate(leaves)[order], *(p.rows for p in chosen.values())
        )
        ids = np.concatenate([points.ids for points in chosen.values()])[order]
        return Points(rows, ids), [of_split[place] for place in order]

    def _lams(self, points: Points) -> np.ndarray:
        self.on_progress("the mode's own lam", 0.0)
        evaluator = Evaluator(self.experiment.problem, self.kernels.view, self.sizes["train"])
        return evaluator.lams(self.params, points, key_for(self.experiment.seed, "infer"))

    def _search(self, points: Points, lams: np.ndarray) -> list[Job]:
        jobs = [Job(number, 0, lam) for number, lam in enumerate(lams)]
        self.run_jobs(points, jobs, SEARCH_SHARE, "lam* from the mode's own lam")
        return jobs

    def run_jobs(self, points: Points, jobs: Sequence[Job], share: float, what: str) -> None:
        """Search until all jobs are done, but for those that an earlier, killed report has done."""
        for job in jobs:
            job.found = self.known.get((int(points.ids[job.point]), job.start))
        left = [job for job in jobs if job.found is None]
        done = len(jobs) - len(left)

        def on_found(job: Job) -> None:
            nonlocal done
            done += 1
            assert job.found is not None
            self.parts.add_found(points.ids[job.point], job.start, job.found)

        def may_go_on() -> bool:
            self.on_progress(what, done / len(jobs))
            return self.has_time(share)

        searcher = Searcher(self.kernels, self.params.theta, points, self.settings, may_go_on)
        searcher.run(left, on_found)

    def _decompose(
        self,
        points: Points,
        of_split: list[Split],
        lams: np.ndarray,
        winners: dict[int, tuple[str, Found]],
    ) -> list[Decomposition]:
        self.on_progress("bounds on shared draws", 0.0)
        index = np.array(sorted(winners))
        rows = jax.tree.map(lambda leaf: leaf[index], points.rows)
        ids = points.ids[index]
        best = np.stack([winners[point][1].lam for point in index])
        shared = (self.params.theta, key_for(self.experiment.seed, "score"))
        at_lam = self.kernels.values(shared, rows, ids, lams[index])
        at_best = self.kernels.values(shared, rows, ids, best)
        khats = self._khats(shared, rows, ids, best)
        evidence = self._evidence(Points(rows, ids), best)
        kind = self.evidence.kind
        number = self.evidence.num_weights if isinstance(self.evidence, Weighted) else None
        return [
            decompose(
                Place(int(ids[n]), of_split[index[n]]),
                (at_lam[n], at_best[n]),
                winners[index[n]],
                Evidenced(
                    evidence[n],
                    kind,
                    number,
                    khats[n],
                    self.settings.num_draws,
                    self.settings.tolerance,
                ),
            )
            for n in range(len(index))
        ]

    def _khats(self, shared: Any, rows: Any, ids: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Return khat of q(z; lam*), NaN for a family without reparametrised draws, too few draws.

        The Dirichlet and the categorical are no proposals of importance weights here.
        """
        family, draws = self.experiment.problem.family, self.settings.num_draws
        if not isinstance(family, Reparametrised) or draws < FEWEST_DRAWS:
            return np.full(len(ids), np.nan)
        return cast(np.ndarray, self.kernels.khat(shared, rows, ids, best))

    def keep_estimate(self, row: int, evidence: Any, lam: np.ndarray, estimate: Estimate) -> None:
        """Keep the evidence of one row, for the rest of the report and for one that goes on."""
        by = repr(evidence)
        self.estimates[int(row), by] = (lam.tolist(), estimate)
        self.parts.add_estimate(row, by, lam, estimate)

    def _known_evidence(self, points: Points) -> None:
        """Take the evidence that the model knows, before any search: it costs next to nothing."""
        if Tractable not in self.experiment.evidence.needs:
            return
        self.on_progress("exact evidence", 0.0)
        family = self.experiment.problem.family
        nowhere = np.broadcast_to(np.asarray(family.init()), (len(points), family.num_params))
        found = self.kernels.evidence_of(self.evidence)(
            self.params.theta, points.rows, points.ids, nowhere
        )
        for number, row in enumerate(points.ids):
            self.closed[int(row)] = Estimate(*(leaf[number] for leaf in found))
        if lost := int(np.sum(~np.isfinite(found.value))):
            self.complete = False
            self.skipped.append(f"the evidence of {lost} rows: it is not a finite number.")

    def _evidence(self, points: Points, lams: np.ndarray) -> list[Estimate]:
        unknown = Estimate(*4 * [cast(Any, float("nan"))])
        result = [unknown] * len(points)
        if self.experiment.evidence.kind == "none":
            return result
        if self.closed:
            return [self.closed[int(row)] for row in points.ids]
        if self.settings.simulated and self.sandwich is None and self.has_time():
            if isinstance(self.evidence, Bidirectional):
                self.evidence, self.sandwich = settle(self, points, lams)
        kernel, by = self.kernels.evidence_of(self.evidence), repr(self.evidence)
        left = []
        for number, row in enumerate(points.ids):
            lam, estimate = self.estimates.get((int(row), by), (None, unknown))
            if lam == lams[number].tolist():
                result[number] = estimate
            else:
                left.append(number)
        width = self.settings.width
        for first in range(0, len(left), width):
            self.on_progress("evidence", first / len(left))
            if not self.has_time():
                self.complete = False
                self.skipped.append(
                    f"the evidence of {len(left) - first} of {len(points)} rows: no time left."
                )
                break
            batch = np.array(left[first : first + width])
            rows = jax.tree.map(lambda leaf, batch=batch: leaf[batch], points.rows)
            found = kernel(self.params.theta, rows, points.ids[batch], lams[batch])
            for place, number in enumerate(batch):
                result[number] = Estimate(*(leaf[place] for leaf in found))
                self.keep_estimate(points.ids[number], self.evidence, lams[number], result[number])
        if lost := sum(one is not unknown and not np.isfinite(one.value) for one in result):
            self.complete = False
            self.skipped.append(f"the evidence of {lost} rows: it is not a finite number.")
        return result
