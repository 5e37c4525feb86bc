"""gap/summary.json: means with their errors, and what makes them believable."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from avi.abilities import Bidirectional, Weighted
from avi.errors import NonFiniteError, ValidityError
from avi.gap.context import Context
from avi.gap.decomposition import NOT_FINITE, Decomposition
from avi.gap.endings import SENTENCES, Ending
from avi.gap.same_bound import reported_bound
from avi.gap.statistics import (
    FEWEST,
    Mean,
    khat_limit,
    lower_limit,
    mean_of,
    significantly_negative,
)
from avi.phi import is_amortized
from avi.problem import Problem
from avi.settings import Split

ENOUGH_KHAT = 0.95  # share of points whose importance weights must be well behaved
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
    sandwich: dict[str, Any] | None
    frontiers: dict[str, list[dict[str, Any]]]
    same_bounds: dict[Split, dict[str, Any]]
    audit: dict[str, Any]
    doublings: int


def summarise(outcome: Outcome, rows: Sequence[Decomposition]) -> dict[str, Any]:
    """Return the content of gap/summary.json."""
    context, audit, sandwich = outcome.context, outcome.audit, outcome.sandwich
    experiment, settings, notes = context.experiment, context.settings, context.notes
    amortized = is_amortized(experiment.problem.inference, context.params.phi)
    tables = {
        split: _Table(
            [row for row in rows if row.split == split], context.sizes[split], experiment.seed
        )
        for split in settings.splits
    }
    lost = [row for row in rows if NOT_FINITE in row.flags]
    rows = [row for row in rows if NOT_FINITE not in row.flags]
    usable = usable_evidence(rows, experiment.evidence)
    splits = {
        split: {
            **_split(table, usable),
            "not_finite": sum(row.split == split for row in lost),
            "same_bound": outcome.same_bounds.get(split),
        }
        for split, table in tables.items()
        if table.rows
    }
    return {
        "gap_name": "amortization gap" if amortized else "optimisation gap",
        "bound": reported_bound(experiment.problem),
        "objective_trained": experiment.problem.bound_name.replace("-", " ").split()[0].lower(),
        "label": _label(experiment.problem, "encoder" if amortized else "parameters"),
        "seed": experiment.seed,
        "num_draws": settings.num_draws,
        "tolerance": settings.tolerance,
        "width": settings.width,
        "half_width": settings.half_width,
        "doublings": outcome.doublings,
        "splits": splits,
        "generalisation_gap": _generalisation_gap(splits) if amortized else None,
        "audit": {**audit, "winners": dict(sorted(Counter(row.winner for row in rows).items()))},
        "sandwich": sandwich,
        "sandwich_due": bool(settings.simulated) and isinstance(experiment.evidence, Bidirectional),
        "frontier": outcome.frontiers,
        "worst": _worst(rows),
        "not_finite": [row.row for row in lost],
        "validity": {
            **_validity(rows, splits),
            "evidence_se_ok": _evidence_se_ok(splits, rows, settings.tolerance),
            "khat_ok": _khat_ok(rows, settings.num_draws, usable),
            "finite": not lost,
            "complete": notes.complete,
            "doubling_ok": audit["doubling"] and audit["doubling"]["ok"],
            "sandwich_ok": sandwich and sandwich["ok"],
        },
        "skipped": [
            *notes.skipped,
            *([] if usable else [HEAVY_TAIL]),
            *([] if context.kernels.certifies else [NO_CERTIFICATE]),
        ],
        "seconds": context.clock.seconds,
    }


def not_finite(summary: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the rows whose bound is not a finite number, if there are any."""
    rows = summary["not_finite"]
    if not rows:
        return []
    splits = [name for name, one in summary["splits"].items() if one["not_finite"]]
    return [
        f"The bound of {len(rows)} rows is not a finite number (row ids "
        f"{', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}): gap/points.csv flags "
        f"them, and there are no means over the {' and '.join(splits)} rows."
    ]


def require_finite(summary: Mapping[str, Any]) -> None:
    """Raise NonFiniteError if the bound of a row is not a finite number."""
    for sentence in not_finite(summary):
        raise NonFiniteError(
            f"{sentence} Look at these rows, or measure another checkpoint=<step>."
        )


def check(summary: Mapping[str, Any], *, strict: bool) -> None:
    """Raise ValidityError if the report contradicts itself or, if strict, if any flag is false."""
    validity = summary["validity"]
    if validity["negative_gap"]:
        raise ValidityError(
            "A gap that cannot be negative is, beyond its noise: the bound at lam* is below that "
            "at lam, or above the evidence. gap/points.csv shows where."
        )
    false = [name for name, value in validity.items() if value is False and name != "negative_gap"]
    if summary["sandwich_due"] and validity["sandwich_ok"] is None:
        false.append("sandwich_ok (there was no time for it)")
    if strict and false:
        raise ValidityError(
            f"gap.strict=true, and {', '.join(false)} did not hold: see gap/summary.json."
        )


def _generalisation_gap(splits: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what an encoder loses by not having seen a row; None without both splits."""
    ends = [splits[split] for split in ("train", "test") if split in splits]
    gaps = [one["amortization_gap"] for one in ends]
    if len(gaps) < 2 or None in gaps:
        return None
    train, test = gaps
    return {
        "mean": test["mean"] - train["mean"],
        "se": math.hypot(train["se"], test["se"]),  # of different rows: independent
        "n": {"train": ends[0]["n"], "test": ends[1]["n"]},
    }


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

    def column(self, name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in self.rows], np.float64)

    def mean(self, name: str, *errors: str) -> Mean:
        """Return the mean of a column; the columns of its independent errors add in quadrature."""
        noise = np.sqrt(sum(self.column(error) ** 2 for error in errors))
        return mean_of(self.column(name), noise, self.size, self.seed)


MEANS = (
    "bound bound_star evidence importance_bound amortization_gap approximation_gap inference_gap"
    " certificate"
).split()


def _split(table: _Table, evidence_usable: bool) -> dict[str, Any]:
    """Return the means of one split and their errors: none over the finite part only."""
    finite = not any(NOT_FINITE in row.flags for row in table.rows)
    return {
        "n": len(table.rows),
        "size": table.size,
        **(_means(table, evidence_usable) if finite else dict.fromkeys(MEANS)),
        "converged": sum(row.converged for row in table.rows),
        "endings": _endings(table.rows),
        "negative": int(np.sum(table.column("amortization_gap") < 0)),
        "gradient_evaluations": float(table.column("gradient_evaluations").mean()),
    }


def _endings(rows: Sequence[Decomposition]) -> list[dict[str, Any]]:
    """Return how the searches ended that were not certified: how many, and what it means."""
    counts = Counter(
        ending for row in rows for ending in SENTENCES if not row.converged and ending in row.flags
    )
    named = sum(counts.values()) - counts[Ending.UNCERTIFIED]
    counts[Ending.UNCERTIFIED] -= named  # which every one of them is, too
    return [
        {"ending": str(ending), "n": number, "sentence": SENTENCES[ending]}
        for ending, number in counts.items()
        if number > 0
    ]


def _means(table: _Table, evidence_usable: bool) -> dict[str, Any]:
    complete = bool(np.isfinite(table.column("evidence")).all())
    kind = table.rows[0].evidence_kind
    evidence = {**_fields(table.mean("evidence", "evidence_se")), "kind": kind}
    usable = complete and evidence_usable
    return {
        "bound": _fields(table.mean("bound", "bound_se")),
        "bound_star": _fields(table.mean("bound_star", "bound_star_se")),
        "evidence": evidence if usable else None,
        "importance_bound": evidence if complete and not evidence_usable else None,
        "amortization_gap": _gap(table),
        **{
            name: _fields(table.mean(name, "evidence_se", error)) if usable else None
            for name, error in (
                ("approximation_gap", "bound_star_se"),
                ("inference_gap", "bound_se"),
            )
        },
        "certificate": _fields(table.mean("certificate", "certificate_se")),
    }


def _gap(table: _Table) -> dict[str, Any]:
    gap, values = table.mean("amortization_gap", "gap_se"), table.column("amortization_gap")
    return {
        **_fields(gap),
        "median": float(np.median(values)),
        "p95": float(np.quantile(values, 0.95)),
        "max": float(values.max()),
        "guaranteed": lower_limit(gap),
    }


def _fields(mean: Mean) -> dict[str, Any]:
    return {
        "mean": mean.mean,
        "se": mean.se,
        "se_mc": mean.se_mc,
        "se_split": mean.se_split,
        "interval": None if mean.interval is None else list(mean.interval),
    }


def _well_behaved(khats: Sequence[float], num_weights: int) -> bool | None:
    """Whether enough of the weights' tails are light; None where none is known."""
    known = np.array([khat for khat in khats if np.isfinite(khat)])
    if not known.size:
        return None
    return bool(np.mean(known < khat_limit(num_weights)) >= ENOUGH_KHAT)


def usable_evidence(rows: Sequence[Decomposition], evidence: Any) -> bool:
    """Whether the estimator's own weights allow its values to be called evidence."""
    if not isinstance(evidence, Weighted):
        return True
    khats = [row.evidence_khat for row in rows]
    return _well_behaved(khats, evidence.num_weights) is not False


def _khat_ok(rows: Sequence[Decomposition], num_draws: int, usable: bool) -> bool | None:
    """Whether q(z; lam*) is a usable proposal, and the evidence's own weights are in order."""
    return _well_behaved([row.khat for row in rows], num_draws) if usable else False


def _evidence_se_ok(
    splits: Mapping[Any, Any], rows: Sequence[Decomposition], tolerance: float
) -> bool | None:
    """Whether the evidence is known to the tolerance; None without evidence.

    What is called exact must be so in every row. Of estimates, whose noise averages out, the Monte
    Carlo error of each split's mean counts.
    """
    known = [one["evidence"] for one in splits.values() if one["evidence"] is not None]
    if not known:
        return None
    if all(one["kind"] == "exact" for one in known):
        return all(row.evidence_se <= tolerance for row in rows)
    return all(one["se_mc"] <= tolerance for one in known)


def _validity(rows: Sequence[Decomposition], splits: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "q_star_converged": all(row.converged for row in rows),
        "n_ok": all(one["n"] >= FEWEST for one in splits.values()),
        "negative_gap": any(
            _contradicts([row for row in rows if row.split == split], one)
            for split, one in splits.items()
        ),
    }


def _contradicts(rows: Sequence[Decomposition], summary: Mapping[str, Any]) -> bool:
    if not rows:
        return False

    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows], np.float64)

    # Single precision loses a few units in the last place of a bound.
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(column("bound")).mean())
    gap = significantly_negative(column("amortization_gap"), column("gap_se"), rounding)
    if summary["evidence"] is None:
        return gap
    noise = np.hypot(column("evidence_se"), column("bound_star_se"))
    return gap or significantly_negative(column("approximation_gap"), noise, rounding)


def _worst(rows: Sequence[Decomposition]) -> list[dict[str, Any]]:
    ranked = sorted(rows, key=lambda row: -row.amortization_gap)[:WORST]
    return [{"row": row.row, "split": row.split, "gap": row.amortization_gap} for row in ranked]
