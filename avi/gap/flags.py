"""The validity flags of a report: each says whether one thing that it rests on holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avi.abilities import Bidirectional, Weighted
from avi.gap.statistics import FEWEST, khat_limit, significantly_negative
from avi.results.gap import AuditRecord, SplitSummary
from avi.results.points import Decomposition
from avi.settings import Split

ENOUGH = 0.95  # share of points in which what a flag is about must be in order


def _well_behaved(khats: Sequence[float], num_weights: int) -> bool | None:
    """Whether enough of the weights' tails are light; None where none is known."""
    known = np.array([khat for khat in khats if not np.isnan(khat)])
    if not known.size:
        return None
    return bool(np.mean(known < khat_limit(num_weights)) >= ENOUGH)


def usable_evidence(rows: Sequence[Decomposition], evidence: Any) -> bool:
    """Whether the estimator's own weights allow its values to be called evidence."""
    if not isinstance(evidence, Weighted):
        return True
    khats = [row.evidence_khat for row in rows]
    return _well_behaved(khats, evidence.num_weights) is not False


def rests_on_q(evidence: Any) -> bool:
    """Whether the evidence is a mean of weights of draws from q, which k̂ judges."""
    return isinstance(evidence, Weighted) and not isinstance(evidence, Bidirectional)


def khat_ok(
    rows: Sequence[Decomposition], evidence: Any, num_draws: int, usable: bool
) -> bool | None:
    """Whether q(z; lam*) is a usable proposal, and the evidence's own weights are in order.

    None for evidence that does not rest on weights from q, such as that of annealing.
    """
    if not rests_on_q(evidence):
        return None
    return _well_behaved([row.khat for row in rows], num_draws) if usable else False


def evidence_se_ok(
    splits: Mapping[Split, SplitSummary], rows: Sequence[Decomposition], tolerance: float
) -> bool | None:
    """Whether the evidence is known to the tolerance; None without evidence.

    What is called exact must be so in every row. Of estimates, whose noise averages out, the Monte
    Carlo error of each split's mean counts.
    """
    known = [one.evidence for one in splits.values() if one.evidence.known]
    if not known:
        return None
    if all(one.kind == "exact" for one in known):
        return all(row.evidence_se <= tolerance for row in rows)
    return all(one.se_mc <= tolerance for one in known)


def identity_ok(rows: Sequence[Decomposition], tolerance: float) -> bool | None:
    """Whether a family of all distributions has no approximation gap: it cannot. None: unasked."""
    known = [row for row in rows if row.evidence_kind == "exact"]
    if not known:
        return None
    return all(abs(row.approximation_gap) <= tolerance for row in known)


def enough(one: SplitSummary) -> bool:
    """Whether there are enough points for an interval, and none of them carries the mean."""
    known = one.amortization_gap.known
    return one.n >= FEWEST and (not known or one.amortization_gap.interval is not None)


def starts_ok(audit: AuditRecord) -> bool | None:
    """Whether no audited point gains from another start, unless all were searched from all."""
    return bool(audit.improved == 0 or audit.all_points) if audit.points else None


def rare(flag: str, rows: Sequence[Decomposition]) -> bool | None:
    """Whether few of the points whose evidence has weights raise a flag; None where none has."""
    known = [row for row in rows if np.isfinite(row.ess)]
    if not known:
        return None
    raised = sum(flag in row.flags.split() for row in known)
    return raised <= (1 - ENOUGH) * len(known)


def negative_gap(rows: Sequence[Decomposition], splits: Mapping[Split, SplitSummary]) -> bool:
    """Whether a gap that cannot be negative is, beyond its noise."""
    return any(
        _contradicts([row for row in rows if row.split == split], one)
        for split, one in splits.items()
    )


def _contradicts(rows: Sequence[Decomposition], summary: SplitSummary) -> bool:
    if not rows:
        return False

    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows], np.float64)

    # Single precision loses a few units in the last place of a bound.
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(column("bound")).mean())
    gap = significantly_negative(column("amortization_gap"), column("gap_se"), rounding)
    if not summary.evidence.known:
        return gap
    noise = np.hypot(column("evidence_se"), column("bound_star_se"))
    return gap or significantly_negative(column("approximation_gap"), noise, rounding)
