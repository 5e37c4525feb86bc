"""From values on shared draws to the gaps of one datapoint."""

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from avi.gap.search import Found
from avi.gap.statistics import khat_limit
from avi.settings import Split
from avi.types import Estimate

NOT_FINITE = "not-finite"  # the flag of a row with which its split has no means


class Place(NamedTuple):
    """Which row a decomposition is of."""

    row: int
    split: Split


class Evidenced(NamedTuple):
    """One point's estimate of log p(x), and what the flags of its weights depend on."""

    estimate: Estimate
    kind: str
    num_weights: int | None  # K of the estimator, None where it has no weights
    khat: float  # of q(z; lam*)
    num_draws: int  # S, of which that is the shape
    tolerance: float  # nats that evidence called exact may be wrong by


@dataclass(frozen=True)
class Decomposition:
    """One line of gap/points.csv; nats, NaN where unknown.

    evidence - bound = approximation_gap + amortization_gap = inference_gap, identically.
    """

    row: int
    split: Split
    bound: float  # ELBO at the mode's lam
    bound_star: float  # ELBO at lam*, on the same fresh draws
    evidence: float
    evidence_se: float
    evidence_kind: str
    approximation_gap: float
    amortization_gap: float
    inference_gap: float
    certificate: float  # nats that lam* still lacks
    certificate_se: float
    converged: bool
    # Where the search that found lam* began; "mode": the mode's own lam stands or started it.
    winner: str
    khat: float  # Pareto shape of p(x, z) / q(z; lam*), on the draws of the bounds
    evidence_khat: float  # that of the evidence's own weights, where these are importance weights
    ess: float  # effective number of the evidence's weights
    gradient_evaluations: int
    flags: str
    gap_se: float  # Monte Carlo error of the paired difference
    bound_se: float
    bound_star_se: float
    guarantee: float  # limit to what lam* lacks, where theory has one
    importance_bound: float = float("nan")  # what khat refuses to be called evidence

    def as_row(self) -> dict[str, Any]:
        """Return the fields in order, as they are written."""
        return asdict(self)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over pairs of draws and its standard error, summed in float64."""
    if len(values) == 1:
        return float(values[0]), 0.0
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


@np.errstate(invalid="ignore")  # what is not finite is flagged
def decompose(
    place: Place,
    values: tuple[np.ndarray, np.ndarray],
    won: tuple[str, Found],
    evidence: Evidenced,
) -> Decomposition:
    """Return one point's gaps from its values at lam and at lam* on the same pairs of draws."""
    at_lam, at_best = values
    winner, found = won
    bound, bound_se = mean_and_error(at_lam)
    bound_star, bound_star_se = mean_and_error(at_best)
    _, gap_se = mean_and_error(at_best - at_lam)
    estimate = evidence.estimate
    value = float(estimate.value)
    return Decomposition(
        **place._asdict(),
        bound=bound,
        bound_star=bound_star,
        evidence=value,
        evidence_se=float(estimate.standard_error),
        evidence_kind=evidence.kind,
        approximation_gap=value - bound_star,
        amortization_gap=bound_star - bound,
        inference_gap=value - bound,
        certificate=found.certificate,
        certificate_se=found.certificate_se,
        converged=found.converged,
        winner=winner,
        khat=float(evidence.khat),
        evidence_khat=float(estimate.khat),
        ess=float(estimate.ess),
        gradient_evaluations=found.gradient_evaluations,
        flags=_flags(found, evidence, bool(np.isfinite(bound_star - bound))),
        gap_se=gap_se,
        bound_se=bound_se,
        bound_star_se=bound_star_se,
        guarantee=found.guarantee,
    )


def withheld(row: Decomposition) -> Decomposition:
    """Return the row where its weights refuse the estimate the name of evidence: it is a bound."""
    unknown = float("nan")
    return replace(
        row,
        evidence=unknown,
        evidence_se=unknown,
        evidence_kind="none",
        approximation_gap=unknown,
        inference_gap=unknown,
        importance_bound=row.evidence,
    )


def _flags(found: Found, evidence: Evidenced, finite: bool) -> str:
    number, estimate = evidence.num_weights, evidence.estimate
    heavy = evidence.khat >= khat_limit(evidence.num_draws)
    raised = {
        "unconverged": not found.converged,
        str(found.ending): not found.converged,
        "khat": heavy or (number is not None and estimate.khat >= khat_limit(number)),
        "evidence-se": evidence.kind == "exact" and estimate.standard_error > evidence.tolerance,
        "low-ess": number is not None and estimate.ess < number / 4,
        NOT_FINITE: not finite,
    }
    return " ".join(name for name, holds in raised.items() if holds)
