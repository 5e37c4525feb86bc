"""gap/summary.json: means with their errors, and what makes them believable."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from avi.abilities import Bidirectional
from avi.errors import NonFiniteError, ValidityError
from avi.gap import flags
from avi.gap.context import Context
from avi.gap.endings import SENTENCES, Ending
from avi.gap.same_bound import reported_bound
from avi.gap.statistics import (
    lower_limit,
    mean_of,
)
from avi.phi import is_amortized
from avi.problem import Problem
from avi.process.grammar import many
from avi.results import flags as flag_words
from avi.results.flags import Validity
from avi.results.gap import (
    AuditRecord,
    Ended,
    EvidenceMean,
    FrontierStep,
    GapMean,
    GapSummary,
    Generalisation,
    Mean,
    SameBound,
    Sandwich,
    Sizes,
    SplitSummary,
    Worst,
)
from avi.results.points import (
    LOW_ESS,
    NOT_FINITE,
    STARTS_APART,
    TAILS,
    Decomposition,
    worst_first,
)
from avi.settings import Split

WORST = 10
HEAVY_TAIL = (
    "the approximation gap: the tail of the importance weights is too heavy (khat) for their mean "
    "to be called evidence. Try evidence=ais."
)
NO_CERTIFICATE = (
    "certificates: the score-function estimate of this bound has no curvature to certify by, so "
    "every search spends its budget and counts as unconverged."
)


class Outcome(NamedTuple):
    """What the parts of a report have returned, beside its rows."""

    context: Context
    sandwich: Sandwich | None
    modes_ok: bool | None  # on simulated rows
    frontiers: Mapping[Split, tuple[FrontierStep, ...]]
    same_bounds: Mapping[Split, SameBound]
    audit: AuditRecord
    doublings: int
    precision_ok: bool | None
    level: float  # of the intervals: 95 %, more where rows may be added until one is narrow
    closed_form_ok: bool | None  # the evidence that a model states


def summarise(outcome: Outcome, rows: Sequence[Decomposition]) -> GapSummary:
    """Return the content of gap/summary.json."""
    context, audit, sandwich = outcome.context, outcome.audit, outcome.sandwich
    experiment, settings, notes = context.experiment, context.settings, context.notes
    amortized = is_amortized(experiment.problem.inference, context.params.phi)
    tables = {
        split: _Table(
            [row for row in rows if row.split == split],
            context.stands_for(split),
            experiment.seed,
            outcome.level,
        )
        for split in settings.splits
    }
    lost = [row for row in rows if NOT_FINITE in row.flags]
    rows = [row for row in rows if NOT_FINITE not in row.flags]
    usable = flags.usable_evidence(rows, experiment.evidence)
    splits = {
        split: _split(table, usable, outcome.same_bounds.get(split))
        for split, table in tables.items()
        if table.rows
    }
    half_width, named = settings.half_width, settings.rows
    return GapSummary(
        gap_name="amortization gap" if amortized else "optimisation gap",
        bound=reported_bound(experiment.problem),
        objective_trained=experiment.problem.bound_name.replace("-", " ").split()[0].lower(),
        label=_label(experiment.problem, "encoder" if amortized else "parameters"),
        seed=experiment.seed,
        num_draws=settings.num_draws,
        tolerance=settings.tolerance,
        width=settings.width,
        half_width=float("nan") if half_width is None else half_width,
        doublings=outcome.doublings,
        rows="" if named is None else str(named),
        splits=splits,
        generalisation_gap=_generalisation_gap(splits)
        if amortized and settings.rows is None
        else None,
        audit=replace(audit, winners=dict(sorted(Counter(row.winner for row in rows).items()))),
        sandwich=sandwich,
        sandwich_due=bool(settings.simulated) and isinstance(experiment.evidence, Bidirectional),
        frontier=outcome.frontiers,
        worst=tuple(
            Worst(row.row, row.split, row.amortization_gap) for row in worst_first(rows, WORST)
        ),
        not_finite=tuple(row.row for row in lost),
        validity=Validity(
            q_star_converged=all(row.converged for row in rows),
            n_ok=all(flags.enough(one) for one in splits.values()),
            negative_gap=flags.negative_gap(rows, splits),
            evidence_se_ok=flags.evidence_se_ok(splits, rows, settings.tolerance),
            khat_ok=flags.khat_ok(rows, experiment.evidence, settings.num_draws, usable),
            finite=not lost,
            complete=notes.complete,
            doubling_ok=audit.doubling.ok if audit.doubling else None,
            precision_ok=outcome.precision_ok,
            identity_ok=flags.identity_ok(rows, settings.tolerance)
            if context.compiled.knows_optimum
            else None,
            starts_ok=flags.starts_ok(audit),
            ess_ok=flags.rare(LOW_ESS, rows),
            evidence_starts_ok=flags.rare(STARTS_APART, rows),
            sandwich_ok=sandwich.ok if sandwich else None,
            modes_ok=outcome.modes_ok,
            tails_ok=not any(TAILS in row.flags.split() for row in rows)
            if context.compiled.has_tails
            else None,
            closed_form_ok=outcome.closed_form_ok,
        ),
        skipped=(
            *notes.skipped,
            *(() if usable else (HEAVY_TAIL,)),
            *(() if context.compiled.certifies else (NO_CERTIFICATE,)),
        ),
        seconds=context.clock.seconds,
    )


def not_finite(summary: GapSummary) -> list[str]:
    """Return a sentence on the rows whose bound is not a finite number, if there are any."""
    rows = summary.not_finite
    if not rows:
        return []
    splits = [name for name, one in summary.splits.items() if one.not_finite]
    return [
        f"The bound of {many(len(rows), 'row')} is not a finite number (rows "
        f"{', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}): gap/points.csv flags "
        f"them, and there are no means over the {' and '.join(splits)} rows."
    ]


def require_finite(summary: GapSummary) -> None:
    """Raise NonFiniteError if the bound of a row is not a finite number."""
    for sentence in not_finite(summary):
        raise NonFiniteError(
            f"{sentence} Look at these rows, or measure another checkpoint=<step>."
        )


def check(summary: GapSummary, *, strict: bool) -> None:
    """Raise ValidityError if the report contradicts itself or, if strict, if any flag is false."""
    validity = summary.validity
    if validity.negative_gap:
        raise ValidityError(
            "A gap that cannot be negative is, beyond its noise: the bound at λ* is below that "
            "at lam, or above the evidence. gap/points.csv shows where."
        )
    failed = validity.failed()
    if summary.sandwich_due and validity.sandwich_ok is None:
        failed.append("sandwich_ok (there was no time for it)")
    if strict and failed:
        fails = {one.name: one.fails for one in flag_words.SENTENCES}
        words = " ".join(f"{name}: {fails.get(name, 'see the page.')}" for name in failed)
        raise ValidityError(f"gap.strict=true, and gap/summary.json has flags that fail. {words}")


def _generalisation_gap(splits: Mapping[Split, SplitSummary]) -> Generalisation | None:
    """Return what an encoder loses by not having seen a row; None without both splits."""
    ends = [splits[split] for split in ("train", "test") if split in splits]
    if len(ends) < 2 or not all(one.amortization_gap.known for one in ends):
        return None
    train, test = (one.amortization_gap for one in ends)
    return Generalisation(
        mean=test.mean - train.mean,
        se=math.hypot(train.se, test.se),  # of different rows: independent
        n=Sizes(ends[0].n, ends[1].n),
    )


def _label(problem: Problem, subject: str) -> str:
    """Return the gap's full name, which says so where another bound was trained."""
    reported = reported_bound(problem)
    if problem.bound_name == reported:
        return f"{reported} gap"
    return f"{reported} gap, {subject} trained on {problem.bound_name}"


@dataclass(frozen=True)
class _Table:
    """The rows of one split as columns."""

    rows: Sequence[Decomposition]
    size: int  # of the whole split
    seed: int
    level: float  # of the intervals

    def column(self, name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in self.rows], np.float64)

    def mean(self, name: str, *errors: str) -> Mean:
        """Return the mean of a column; the columns of its independent errors add in quadrature."""
        noise = np.sqrt(sum(self.column(error) ** 2 for error in errors))
        gaps = name.endswith("_gap")
        values = self.column(name)
        return mean_of(values, noise, self.size, self.seed, gaps=gaps, level=self.level)


def _split(table: _Table, evidence_usable: bool, same_bound: SameBound | None) -> SplitSummary:
    """Return the means of one split and their errors: none over the finite part only."""
    lost = sum(NOT_FINITE in row.flags for row in table.rows)
    return SplitSummary(
        n=len(table.rows),
        size=table.size,
        **(_NO_MEANS if lost else _means(table, evidence_usable)),
        converged=sum(bool(row.converged) for row in table.rows),
        proved=sum(row.proof == "proved" for row in table.rows),
        doubled=sum(row.proof == "doubled" for row in table.rows),
        endings=tuple(_endings(table.rows)),
        negative=int(np.sum(table.column("amortization_gap") < 0)),
        gradient_evaluations=float(table.column("gradient_evaluations").mean()),
        not_finite=lost,
        same_bound=same_bound,
    )


def _endings(rows: Sequence[Decomposition]) -> Iterable[Ended]:
    """Yield how the searches ended that were not certified: how many, and what it means."""
    counts = Counter(
        ending
        for row in rows
        for ending in SENTENCES
        if not row.converged and ending in row.flags.split()
    )
    named = sum(counts.values()) - counts[Ending.UNCERTIFIED]
    counts[Ending.UNCERTIFIED] -= named  # which every one of them is, too
    for ending, number in counts.items():
        if number > 0:
            yield Ended(str(ending), number, SENTENCES[ending])


_NO_MEANS: dict[str, Any] = {
    "bound": Mean(),
    "bound_star": Mean(),
    "evidence": EvidenceMean(),
    "importance_bound": EvidenceMean(),
    "amortization_gap": GapMean(),
    "approximation_gap": Mean(),
    "inference_gap": Mean(),
    "certificate": Mean(),
}


def _means(table: _Table, evidence_usable: bool) -> dict[str, Any]:
    complete = bool(np.isfinite(table.column("evidence")).all())
    mean = table.mean("evidence", "evidence_se")
    evidence = EvidenceMean(**vars(mean), kind=table.rows[0].evidence_kind)
    found = {
        "bound": table.mean("bound", "bound_se"),
        "bound_star": table.mean("bound_star", "bound_star_se"),
        "amortization_gap": _gap(table),
        "certificate": table.mean("certificate", "certificate_se"),
    }
    if complete and evidence_usable:
        found |= {
            "evidence": evidence,
            "approximation_gap": table.mean("approximation_gap", "evidence_se", "bound_star_se"),
            "inference_gap": table.mean("inference_gap", "evidence_se", "bound_se"),
        }
    elif complete:
        found |= {"importance_bound": evidence}
    return _NO_MEANS | found


def _gap(table: _Table) -> GapMean:
    gap, values = table.mean("amortization_gap", "gap_se"), table.column("amortization_gap")
    return GapMean(
        **vars(gap),
        median=float(np.median(values)),
        p95=float(np.quantile(values, 0.95)),
        max=float(values.max()),
        guaranteed=lower_limit(gap, len(values)),
    )
