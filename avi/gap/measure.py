"""The gap report: rows, lam*, bounds on shared draws, evidence, and what may be said of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from avi.abilities import Noisy, Weighted
from avi.experiment import Experiment
from avi.gap import precision
from avi.gap.audit import Audit
from avi.gap.context import Clock, Context, Progress
from avi.gap.decomposition import Evidenced, Place, decompose
from avi.gap.evidence import Evidences, estimated_evidence, known_evidence
from avi.gap.flags import usable_evidence
from avi.gap.frontier import converged, frontier
from avi.gap.ladder import climb
from avi.gap.ledger import Ledger, LedgerFiles, identity_of, theta_sha256
from avi.gap.same_bound import reported_bound, same_bound
from avi.gap.search import Found, Job
from avi.gap.statistics import LEVEL
from avi.gap.summary import Outcome, summarise
from avi.population import Points, choose, chosen, named, rows_at
from avi.results import gap as summaries
from avi.results import ladder as ladders
from avi.results import lams as optima
from avi.results import points as lines
from avi.results.gap import FrontierStep, GapSummary, SameBound, Worst
from avi.results.ladder import Ladder, RowOfRung
from avi.results.lams import Lams
from avi.results.points import Decomposition, Observations
from avi.results.store import Files
from avi.rundir import RunDir
from avi.settings import SPLITS, GapSettings, Split
from avi.types import Estimate, Family, Params, Splits

SEARCH_SHARE = 0.6  # of the seconds, the rest is for the audit, the scores and the evidence
FIRST_POINTS = 100  # per split, where doubling for half_width begins
FEWEST_DRAWS = 100  # whose tail has a shape
# What a point's own numbers depend on: more points, or another clock, keep those already there.
DECISIVE = ("num_draws", "search_draws", "width", "budget", "tolerance")


def report(
    experiment: Experiment,
    params: Params,
    splits: Splits,
    *,
    settings: GapSettings,
    run: Path | RunDir | None,
    on_progress: Progress | None = None,
    identity: str | None = None,
    families: Mapping[str, Family] = MappingProxyType({}),
) -> GapSummary:
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
        families: by name, those to compare on the same rows, in gap/ladder.json.
    """
    folder = run.path if isinstance(run, RunDir) else run
    description = repr((identity, experiment.seed, *(getattr(settings, n) for n in DECISIVE)))
    keep = folder is not None and identity is not None
    parts = LedgerFiles(
        folder / "gap" / "parts" if keep and folder else None, identity_of(params, description)
    )
    num_params, theta = experiment.problem.family.num_params, theta_sha256(params)
    earlier = optima.read(Files(folder)).of(theta, num_params) if keep and folder else {}
    rows = None if settings.rows is None else named(splits, settings.rows)
    if rows is not None:
        settings = replace(settings, splits=tuple(rows), num_points=max(map(len, rows.values())))
    context = Context(
        experiment,
        params,
        splits,
        settings,
        Ledger(parts, num_params, earlier),
        on_progress or _silence,
        Clock(settings.seconds),
        named=rows,
    )
    under_way = measure(context)
    summary, reported = under_way.summary, under_way.reported
    climbed = _ladder(under_way, families)
    if folder is not None:
        if climbed is None:
            ladders.remove(folder)  # which was of other rows or parameters
        else:
            ladders.write(folder, *climbed)
        lines.write(folder, reported, observations(context, summary.worst))
        optima.write(folder, _lams(context, theta))
        summaries.write(folder, summary)  # the last: where it stands, the points are complete
    return summary


def _lams(context: Context, theta: bytes) -> Lams:
    """Return what was found, by row id."""
    found = dict(sorted(context.ledger.optima.items()))
    ids = np.array(list(found), np.int64)
    size = context.experiment.problem.family.num_params
    return Lams(
        row=np.asarray(context.splits.origin.rows_of(ids)),
        id=ids,
        lam=np.array([one.lam for one in found.values()], np.float64).reshape(len(ids), size),
        certificate=np.array([one.certificate for one in found.values()]),
        certificate_se=np.array([one.certificate_se for one in found.values()]),
        converged=np.array([one.converged for one in found.values()], bool),
        theta_sha256=np.frombuffer(theta, np.uint8),
    )


def _silence(what: str, share: float) -> None:
    del what, share


def _ladder(
    under_way: "_Measurement", families: Mapping[str, Family]
) -> tuple[Ladder, list[RowOfRung]] | None:
    """Return what other families reach on the same rows, None where none is asked for."""
    if not families:
        return None
    points = Points(
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *(p.rows for p in under_way.points)),
        np.concatenate([points.ids for points in under_way.points]),
    )
    return climb(under_way.context, points, under_way.of_split, under_way.reported, families)


def measure(context: Context) -> "_Measurement":
    """Return the measurement of every point with its summary; rows double for `half_width`."""
    settings = context.settings
    first, last = 0, settings.num_points
    if settings.half_width is not None:
        last = min(last, FIRST_POINTS)
    under_way = _Measurement(context)
    while True:
        under_way.add(first, last)
        under_way.summary = summarise(under_way.outcome(), under_way.rows)
        if not _needs_more(context, under_way.summary, last):
            return under_way
        first, last = last, 2 * last
        under_way.doublings += 1


def observations(context: Context, worst: Sequence[Worst]) -> Observations:
    """Return the observations themselves of the listed rows; none if x is not one array."""
    sizes, found = list(context.sizes.values()), []
    for one in worst:
        number = context.splits.origin.id_of(int(one.row))
        place = number - sum(sizes[: SPLITS.index(cast(Split, one.split))])
        stored = getattr(context.splits, one.split)
        row = jax.tree.map(lambda leaf, place=place: leaf[place], stored)
        x = context.compiled.view(row, jnp.asarray(number), jnp.zeros((), jnp.int32))
        if not isinstance(x, jax.Array):
            return Observations()
        found.append(np.asarray(x))
    if not found:
        return Observations()
    return Observations(np.array([one.row for one in worst]), np.stack(found))


def _needs_more(context: Context, summary: GapSummary, last: int) -> bool:
    settings = context.settings
    target, size = settings.half_width, max(context.sizes[split] for split in settings.splits)
    if target is None or last >= size or not context.clock.has_time() or summary.not_finite:
        return False
    return any(one.amortization_gap.half_width > target for one in summary.splits.values())


@dataclass
class _Measurement:
    """The parts of one report in their order, and what they have returned so far."""

    context: Context
    rows: list[Decomposition] = field(default_factory=list)
    points: list[Points] = field(default_factory=list)  # of the rows, in parts
    of_split: list[Split] = field(default_factory=list)  # of each row
    frontiers: dict[Split, tuple[FrontierStep, ...]] = field(default_factory=dict)
    same_bounds: dict[Split, SameBound] = field(default_factory=dict)
    doublings: int = 0  # of the points, for half_width
    precision: bool | None = None  # is enough

    def __post_init__(self) -> None:
        self.evidence = Evidences(self.context.experiment.evidence, [])
        self.audit = Audit(self.context)

    summary: GapSummary = field(init=False)

    @property
    def reported(self) -> list[Decomposition]:
        """The rows, without evidence where none is usable."""
        usable = usable_evidence(self.rows, self.evidence.by)
        return self.rows if usable else [row.withheld() for row in self.rows]

    def outcome(self) -> Outcome:
        """Return what the summary is made of."""
        return Outcome(
            self.context,
            self.evidence.sandwich,
            self.evidence.modes_ok,
            self.frontiers,
            self.same_bounds,
            self.audit.record(),
            self.doublings,
            self.precision,
            _level(self.context),
        )

    def add(self, first: int, last: int) -> None:
        """Measure the rows first..last-1 of each split's permutation."""
        context = self.context
        points, of_split = _choose(context, first, last)
        known = known_evidence(context, points)
        context.on_progress("the mode's own lam", 0.0)
        lams = context.lams(points)
        found = self.audit.other_starts(points, of_split, _search(context, points, lams))
        found = self.audit.second_opinions(points, found)
        winners = context.selection(points).winners(lams, found)
        context.ledger.optima.update((int(points.ids[p]), one) for p, (_, one) in winners.items())
        self.audit.search_again(points, of_split, winners)
        rows = self._decompose(points, of_split, lams, winners, known)
        self.rows += rows
        self._draw_frontiers(points, of_split, lams, rows)
        problem = context.experiment.problem
        if problem.bound_name != reported_bound(problem) and not self.same_bounds:
            context.on_progress("the gap in the trained bound", 0.0)
            self.same_bounds = same_bound(context, points, of_split, lams)

    def _draw_frontiers(
        self,
        points: Points,
        of_split: list[Split],
        lams: np.ndarray,
        rows: Sequence[Decomposition],
    ) -> None:
        context = self.context
        if not context.settings.frontier or self.frontiers:
            return
        if not context.clock.has_time():
            context.notes.skip("the frontier: no time left.")
            return
        for split in context.settings.splits:
            index = chosen(points, of_split, split, context.settings.frontier)
            curve = frontier(context, rows_at(points, index), split, lams[index])
            drawn = set(context.splits.origin.rows_of(points.ids[index]).tolist())
            own = [row for row in rows if row.row in drawn]
            self.frontiers[split] = (*curve, *([converged(own)] if own else []))

    def _decompose(
        self,
        points: Points,
        of_split: list[Split],
        lams: np.ndarray,
        winners: dict[int, tuple[str, Found]],
        known: list[Estimate] | None,
    ) -> list[Decomposition]:
        context = self.context
        context.on_progress("bounds on shared draws", 0.0)
        index = np.array(sorted(winners))
        points = rows_at(points, index)
        self.points.append(points)
        self.of_split += [of_split[place] for place in index]
        best = np.stack([winners[point][1].lam for point in index])
        at_lam, at_best = (
            context.compiled.values(context.score_key, points.rows, points.ids, ends)
            for ends in (lams[index], best)
        )
        khats = _khats(context, points, best)
        if known is None:
            self.evidence = estimated_evidence(context, self.evidence, points, best)
            estimates = self.evidence.estimates
        else:
            estimates = [known[place] for place in index]
        # After the evidence, which comes first where there is little time.
        self._note_precision(
            points, [of_split[place] for place in index], (lams[index], best), (at_lam, at_best)
        )
        by, settings = self.evidence.by, context.settings
        own = context.splits.origin.rows_of(points.ids)
        number = by.num_weights if isinstance(by, Weighted) else None
        return [
            decompose(
                Place(int(own[n]), of_split[place]),
                (at_lam[n], at_best[n]),
                winners[place],
                Evidenced(
                    estimates[n],
                    by.kind,
                    number,
                    khats[n],
                    settings.num_draws,
                    settings.tolerance,
                ),
            )
            for n, place in enumerate(index)
        ]

    def _note_precision(
        self,
        points: Points,
        of_split: list[Split],
        ends: tuple[np.ndarray, np.ndarray],
        values: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Ask double precision, of the rows that are new; once it says no, no is the answer."""
        if self.precision is not False:
            self.precision = precision.holds(self.context, points, of_split, ends, values)


def _choose(context: Context, first: int, last: int) -> tuple[Points, list[Split]]:
    """Return the rows first..last-1 of every split, one of each in turn; all that are named.

    A report cut short has then looked at all splits.
    """
    splits = context.settings.splits
    of_each = context.named or {
        split: choose(context.splits, split, first, last) for split in splits
    }
    of_split = [split for split, points in of_each.items() for _ in points.ids]
    rank = np.concatenate([np.arange(len(points)) for points in of_each.values()])
    order = np.argsort(rank, kind="stable")
    rows = jax.tree.map(
        lambda *leaves: np.concatenate(leaves)[order], *(p.rows for p in of_each.values())
    )
    ids = np.concatenate([points.ids for points in of_each.values()])[order]
    return Points(rows, ids), [of_split[place] for place in order]


def _level(context: Context) -> float:
    """Return the level of the intervals: with all the looks that doubling may take, 95 %."""
    if context.settings.half_width is None:
        return LEVEL
    largest = max(context.sizes[split] for split in context.settings.splits)
    looks = 1 + max(0, math.ceil(math.log2(largest / FIRST_POINTS)))
    return 1 - (1 - LEVEL) / looks


def _search(context: Context, points: Points, lams: np.ndarray) -> dict[int, list[Job]]:
    """Return per point the search from the mode's own lam; points without one are noted."""
    earlier = context.ledger.earlier
    jobs = [
        Job(number, 0, earlier.get(row, lam), known=row in earlier)
        for number, (row, lam) in enumerate(zip(points.ids.tolist(), lams, strict=True))
    ]
    context.search(points, jobs, SEARCH_SHARE, "lam* from the mode's own lam")
    found = {job.point: [job] for job in jobs if job.found is not None}
    if lost := len(points) - len(found):
        context.notes.drop(
            f"{lost} of {len(points)} rows were not searched within "
            f"{context.settings.seconds:g} seconds and are left out."
        )
    return found


def _khats(context: Context, points: Points, best: np.ndarray) -> np.ndarray:
    """Return khat of q(z; lam*), NaN for a family without smooth draws, too few draws.

    The Dirichlet and the categorical are no proposals of importance weights here.
    """
    family, draws = context.experiment.problem.family, context.settings.num_draws
    if not isinstance(family, Noisy) or draws < FEWEST_DRAWS:
        return np.full(len(points), np.nan)
    khats = context.compiled.khat(context.score_key, points.rows, points.ids, best)
    return cast(np.ndarray, khats)
