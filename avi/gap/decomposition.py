"""From values on shared draws to the gaps of one datapoint."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from avi.gap.search import Found
from avi.settings import Split
from avi.types import Estimate

NOT_FINITE = "not-finite"  # the flag of a row that no mean contains


class Place(NamedTuple):
    """Which row a decomposition is of."""

    row: int
    split: Split


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
    guarantee: float  # rigorous limit to what lam* lacks, where the model has one

    def as_row(self) -> dict[str, Any]:
        """Return the fields in order, as they are written."""
        return asdict(self)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over pairs of draws and its standard error, summed in float64."""
    if len(values) == 1:
        return float(values[0]), 0.0
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def decompose(
    place: Place,
    values: tuple[np.ndarray, np.ndarray],
    won: tuple[str, Found],
    evidence: Estimate,
    kind: str,
    khat: float,
) -> Decomposition:
    """Return one point's gaps from its values at lam and at lam* on the same pairs of draws."""
    at_lam, at_best = values
    winner, found = won
    bound, bound_se = mean_and_error(at_lam)
    bound_star, bound_star_se = mean_and_error(at_best)
    _, gap_se = mean_and_error(at_best - at_lam)
    value = float(evidence.value)
    return Decomposition(
        **place._asdict(),
        bound=bound,
        bound_star=bound_star,
        evidence=value,
        evidence_se=float(evidence.standard_error),
        evidence_kind=kind,
        approximation_gap=value - bound_star,
        amortization_gap=bound_star - bound,
        inference_gap=value - bound,
        certificate=found.certificate,
        certificate_se=found.certificate_se,
        converged=found.converged,
        winner=winner,
        khat=float(khat),
        evidence_khat=float(evidence.khat),
        ess=float(evidence.ess),
        gradient_evaluations=found.gradient_evaluations,
        flags=_flags(found, bool(np.isfinite(bound_star - bound))),
        gap_se=gap_se,
        bound_se=bound_se,
        bound_star_se=bound_star_se,
        guarantee=found.guarantee,
    )


def _flags(found: Found, finite: bool) -> str:
    raised = {
        "unconverged": not found.converged,
        "fisher": not found.positive,
        NOT_FINITE: not finite,
    }
    return " ".join(name for name, holds in raised.items() if holds)
