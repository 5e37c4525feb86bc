"""gap/summary.json: means with their errors, and what makes them believable."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avi.errors import ValidityError
from avi.gap.decomposition import Decomposition
from avi.gap.same_bound import trained_bound
from avi.gap.statistics import FEWEST, Mean, lower_limit, mean_of, significantly_negative
from avi.settings import Split

if TYPE_CHECKING:
    from avi.gap.measure import Measurement

ENOUGH_KHAT = 0.95  # share of points whose importance weights must be well behaved
WORST = 10


def khat_limit(num_samples: float) -> float:
    """Return the largest khat at which S weights give a usable mean (Vehtari et al. 2024)."""
    return min(1 - 1 / math.log10(num_samples), 0.7)


def summarise(
    measurement: "Measurement", rows: Sequence[Decomposition], sizes: Mapping[Split, int]
) -> dict[str, Any]:
    """Return the content of gap/summary.json."""
    experiment, settings = measurement.experiment, measurement.settings
    khat_ok = _khat_ok(rows, getattr(experiment.evidence, "num_samples", None))
    splits = {}
    for split in settings.splits:
        own = [row for row in rows if row.split == split]
        if own:
            splits[split] = {
                **_split(own, sizes[split], experiment.seed, khat_ok is not False),
                "same_bound": measurement.same_bounds.get(split),
            }
    skipped = list(measurement.skipped)
    if khat_ok is False:
        skipped.append(
            "the approximation gap: the tail of the importance weights is too heavy (khat) for "
            "their mean to be called evidence. Try evidence=ais."
        )
    return {
        "gap_name": "amortization gap" if amortized(experiment) else "optimisation gap",
        "bound": "ELBO",
        "objective_trained": trained_bound(experiment.problem.objective).partition("-")[0].lower(),
        "label": _label(experiment),
        "seed": experiment.seed,
        "num_draws": settings.num_draws,
        "tolerance": settings.tolerance,
        "width": settings.width,
        "half_width": settings.half_width,
        "splits": splits,
        "audit": _audit(measurement, rows),
        "sandwich": measurement.sandwich,
        "frontier": measurement.frontiers,
        "worst": _worst(rows),
        "validity": {**_validity(rows, splits, khat_ok), "sandwich_ok": _sandwich_ok(measurement)},
        "skipped": skipped,
        "seconds": measurement.seconds,
    }


def check(summary: Mapping[str, Any], *, strict: bool) -> None:
    """Raise ValidityError if the report contradicts itself or, if strict, if any flag is false."""
    validity = summary["validity"]
    if validity["negative_gap"]:
        raise ValidityError(
            "A gap that cannot be negative is, beyond its noise: the bound at lam* is below that "
            "at lam, or above the evidence. gap/points.csv shows where."
        )
    false = [name for name, value in validity.items() if value is False and name != "negative_gap"]
    if strict and false:
        raise ValidityError(
            f"gap.strict=true, and {', '.join(false)} did not hold: see gap/summary.json."
        )


def amortized(experiment: Any) -> bool:
    """Whether an encoder computes lam: a mode with a network somewhere in it."""
    inference = experiment.problem.inference
    while hasattr(inference, "base"):
        inference = inference.base
    return "network" in {name for name in getattr(inference, "__dataclass_fields__", {})}


def _label(experiment: Any) -> str:
    """Return the gap's full name, which says so where another bound was trained."""
    trained = trained_bound(experiment.problem.objective)
    if trained == "ELBO":
        return "ELBO gap"
    subject = "encoder" if amortized(experiment) else "parameters"
    return f"ELBO gap, {subject} trained on {trained}"


def _split(
    rows: Sequence[Decomposition], size: int, seed: int, evidence_usable: bool
) -> dict[str, Any]:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows], np.float64)

    def mean(name: str, noise: np.ndarray) -> Mean:
        return mean_of(column(name), noise, size, seed)

    gap = mean("amortization_gap", column("gap_se"))
    values = column("amortization_gap")
    both = np.hypot(column("evidence_se"), column("bound_star_se"))
    whole = np.hypot(column("evidence_se"), column("bound_se"))
    complete = bool(np.isfinite(column("evidence")).all())
    evidence = {**_fields(mean("evidence", column("evidence_se"))), "kind": rows[0].evidence_kind}
    usable = complete and evidence_usable
    return {
        "n": len(rows),
        "size": size,
        "bound": _fields(mean("bound", column("bound_se"))),
        "bound_star": _fields(mean("bound_star", column("bound_star_se"))),
        "evidence": evidence if usable else None,
        "importance_bound": evidence if complete and not evidence_usable else None,
        "amortization_gap": {
            **_fields(gap),
            "median": float(np.median(values)),
            "p95": float(np.quantile(values, 0.95)),
            "max": float(values.max()),
            "guaranteed": lower_limit(gap),
        },
        "approximation_gap": _fields(mean("approximation_gap", both)) if usable else None,
        "inference_gap": _fields(mean("inference_gap", whole)) if usable else None,
        "certificate": _fields(mean("certificate", column("certificate_se"))),
        "converged": sum(row.converged for row in rows),
        "negative": int(np.sum(values < 0)),
        "gradient_evaluations": float(column("gradient_evaluations").mean()),
    }


def _fields(mean: Mean) -> dict[str, Any]:
    return {
        "mean": mean.mean,
        "se": mean.se,
        "se_mc": mean.se_mc,
        "se_split": mean.se_split,
        "interval": None if mean.interval is None else list(mean.interval),
    }


def _khat_ok(rows: Sequence[Decomposition], num_samples: int | None) -> bool | None:
    khats = np.array([row.khat for row in rows])
    known = khats[np.isfinite(khats)]
    if num_samples is None or not known.size:
        return None
    return bool(np.mean(known < khat_limit(num_samples)) >= ENOUGH_KHAT)


def _sandwich_ok(measurement: "Measurement") -> bool | None:
    return None if measurement.sandwich is None else bool(measurement.sandwich["ok"])


def _validity(
    rows: Sequence[Decomposition], splits: Mapping[Any, Any], khat_ok: bool | None
) -> dict[str, Any]:
    return {
        "q_star_converged": all(row.converged for row in rows),
        "khat_ok": khat_ok,
        "n_ok": all(one["n"] >= FEWEST for one in splits.values()),
        "negative_gap": any(
            _contradicts([row for row in rows if row.split == split], one)
            for split, one in splits.items()
        ),
    }


def _contradicts(rows: Sequence[Decomposition], summary: Mapping[str, Any]) -> bool:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows], np.float64)

    # Single precision loses a few units in the last place of a bound.
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(column("bound")).mean())
    gap = significantly_negative(column("amortization_gap"), column("gap_se"), rounding)
    if summary["evidence"] is None:
        return gap
    noise = np.hypot(column("evidence_se"), column("bound_star_se"))
    return gap or significantly_negative(column("approximation_gap"), noise, rounding)


def _audit(measurement: "Measurement", rows: Sequence[Decomposition]) -> dict[str, Any]:
    improvements = np.array(list(measurement.improvements.values()))
    return {
        "share": measurement.settings.audit,
        "points": len(improvements),
        "improved": int(np.sum(improvements > measurement.settings.tolerance)),
        "largest": float(improvements.max()) if improvements.size else None,
        "all_points": measurement.escalated,
        "winners": {
            name: sum(row.winner == name for row in rows)
            for name in sorted({row.winner for row in rows})
        },
    }


def _worst(rows: Sequence[Decomposition]) -> list[dict[str, Any]]:
    ranked = sorted(rows, key=lambda row: -row.amortization_gap)[:WORST]
    return [{"row": row.row, "split": row.split, "gap": row.amortization_gap} for row in ranked]
