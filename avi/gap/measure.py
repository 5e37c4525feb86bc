"""The gap report: rows, lam*, bounds on shared draws, evidence, and what may be said of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from avi.abilities import Weighted
from avi.experiment import Experiment
from avi.gap import closed_form, doubling, precision
from avi.gap.audit import Audit
from avi.gap.compiled import Weights
from avi.gap.context import Clock, Context, Progress
from avi.gap.decomposition import Evidenced, Place, Values, decompose, weights_at
from avi.gap.evidence import Evidences, estimated_evidence, known_evidence
from avi.gap.flags import rests_on_q, usable_evidence
from avi.gap.folder import ledger, write
from avi.gap.frontier import frontiers
from avi.gap.ladder import climb
from avi.gap.same_bound import reported_bound, same_bound
from avi.gap.search import Found, Job
from avi.gap.summary import Outcome, summarise
from avi.population import Points, joined, named, rows_at
from avi.process.grammar import verb
from avi.results.gap import FrontierStep, GapSummary, SameBound
from avi.results.ladder import Ladder, RowOfRung
from avi.results.points import Decomposition
from avi.rundir import RunDir
from avi.settings import GapSettings, Split
from avi.types import Estimate, Family, Params, Splits

SEARCH_SHARE = 0.6  # of the seconds, the rest is for the audit, the scores and the evidence


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
    known = ledger(folder if identity is not None else None, experiment, params, settings, identity)
    rows = None if settings.rows is None else named(splits, settings.rows)
    if rows is not None:
        settings = replace(settings, splits=tuple(rows), num_points=max(map(len, rows.values())))
    context = Context(
        experiment,
        params,
        splits,
        settings,
        known,
        on_progress or _silence,
        Clock(settings.seconds),
        named=rows,
    )
    under_way = measure(context)
    climbed = _ladder(under_way, families)
    if folder is not None:
        write(folder, context, under_way.summary, under_way.reported, climbed)
    return under_way.summary


def _silence(what: str, share: float) -> None:
    del what, share


def _ladder(
    under_way: "_Measurement", families: Mapping[str, Family]
) -> tuple[Ladder, list[RowOfRung]] | None:
    """Return what other families reach on the same rows, None where none is asked for."""
    if not families:
        return None
    points = joined(under_way.points)
    return climb(under_way.context, points, under_way.of_split, under_way.reported, families)


def measure(context: Context) -> "_Measurement":
    """Return the measurement of every point with its summary; rows double for `half_width`."""
    first, last = 0, doubling.first_points(context.settings)
    under_way = _Measurement(context)
    while True:
        under_way.add(first, last)
        under_way.summary = summarise(under_way.outcome(), under_way.rows)
        if not doubling.needs_more(context, under_way.summary, last):
            return under_way
        first, last = last, 2 * last
        under_way.doublings += 1


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
    closed_form: bool | None = None  # of the evidence, contradicts nothing

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
            doubling.level(self.context),
            self.closed_form,
        )

    def add(self, first: int, last: int) -> None:
        """Measure the rows first..last-1 of each split's permutation."""
        context = self.context
        points, of_split = context.points(first, last)
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
        if not self.frontiers:
            self.frontiers = frontiers(context, points, of_split, lams, rows)
        problem = context.experiment.problem
        if problem.bound_name != reported_bound(problem) and not self.same_bounds:
            context.on_progress("the gap in the trained bound", 0.0)
            self.same_bounds = same_bound(context, points, of_split, lams)

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
        rare = context.compiled.unseen(points.rows, points.ids, lams[index])
        weights = weights_at(context, points, best)
        if known is None:
            self.evidence = estimated_evidence(context, self.evidence, points, best)
            estimates = self.evidence.estimates
        else:
            estimates = [known[place] for place in index]
            self._note_closed_form(points, estimates, weights, best)
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
                Values(at_lam[n], at_best[n], float(rare[n])),
                winners[place],
                Evidenced(
                    estimates[n],
                    by.kind,
                    number,
                    rests_on_q(by),
                    float(weights.khat[n]),
                    settings.num_draws,
                    settings.tolerance,
                ),
            )
            for n, place in enumerate(index)
        ]

    def _note_closed_form(
        self, points: Points, known: list[Estimate], weights: Weights, best: np.ndarray
    ) -> None:
        """Hold log p(x) against estimates, of the rows that are new; no remains no."""
        if self.closed_form is not False:
            found = closed_form.agrees(self.context, points, known, weights, best)
            self.closed_form = self.closed_form if found is None else found

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


def _search(context: Context, points: Points, lams: np.ndarray) -> dict[int, list[Job]]:
    """Return per point the search from the mode's own lam; points without one are noted."""
    earlier = context.ledger.earlier
    jobs = [
        Job(number, 0, earlier.get(row, lam), known=row in earlier)
        for number, (row, lam) in enumerate(zip(points.ids.tolist(), lams, strict=True))
    ]
    context.search(points, jobs, SEARCH_SHARE, "λ* from the mode's own λ")
    found = {job.point: [job] for job in jobs if job.found is not None}
    if lost := len(points) - len(found):
        context.notes.drop(
            f"{lost} of {len(points)} rows {verb(lost, 'were')} not searched within "
            f"{context.settings.seconds:g} seconds and are left out."
        )
    return found
