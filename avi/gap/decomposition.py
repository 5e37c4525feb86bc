"""From values on shared draws to the gaps of one datapoint."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from avi.settings import Split


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
    winner: (
        str  # where the search that found lam* began; "mode": the mode's lam stands or started it
    )
    khat: float
    ess: float
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
