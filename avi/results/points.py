"""gap/points.csv and gap/worst.npz: one line per point, and the worst observations themselves."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from avi.results.record import NAN, Count, restored, table
from avi.results.store import Files, npz, unpacked
from avi.rundir import atomic_write
from avi.settings import Split

POINTS, WORST = "gap/points.csv", "gap/worst.npz"
LOW_ESS = "low-ess"  # the flag of a row whose evidence rests on few of its weights
STARTS_APART = "starts-apart"  # of a row of which one start of its evidence finds more
TAILS = "tails"  # of a row whose bound, at lam or at lam*, rests on draws too rare to be seen
NOT_FINITE = "not-finite"  # the flag of a row with which its split has no means


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
    converged: bool | None
    # Where the search that found lam* began; "mode": the mode's own lam stands or started it.
    winner: str
    khat: float  # Pareto shape of p(x, z) / q(z; lam*), on the draws of the bounds
    evidence_khat: float  # that of the evidence's own weights, where these are importance weights
    ess: float  # effective number of the evidence's weights
    gradient_evaluations: Count
    flags: str
    gap_se: float  # Monte Carlo error of the paired difference
    bound_se: float
    bound_star_se: float
    guarantee: float  # limit to what lam* lacks with 97.5 % confidence, where theory has one
    importance_bound: float = NAN  # what khat refuses to be called evidence
    proof: str = ""  # "proved" by that limit, "estimated", "doubled" or "none"

    def withheld(self) -> "Decomposition":
        """Return the row where its weights refuse the estimate the name of evidence: a bound."""
        return replace(
            self,
            evidence=NAN,
            evidence_se=NAN,
            evidence_kind="none",
            approximation_gap=NAN,
            inference_gap=NAN,
            importance_bound=self.evidence,
        )


@dataclass(frozen=True)
class Observations:
    """Observations themselves, as arrays, with the ids of their rows; None where there are none."""

    input_rows: np.ndarray | None = None
    inputs: np.ndarray | None = None
    reconstructions: np.ndarray | None = None  # E[x | z] at the posterior mean of z
    labels: np.ndarray | None = None  # a word each, a line each, as bytes of UTF-8

    @property
    def named_labels(self) -> tuple[str, ...] | None:
        """The label of each row, where they have labels."""
        return unpacked(self.labels) or None


def write(folder: Path, rows: Iterable[Decomposition], worst: Observations) -> None:
    """Write both files of the run in `folder`, the lines in the order of their ids."""
    (folder / "gap").mkdir(parents=True, exist_ok=True)
    arrays = {name: array for name, array in vars(worst).items() if array is not None}
    atomic_write(folder / WORST, npz(arrays))
    content = table(Decomposition, sorted(rows, key=lambda row: row.row))
    atomic_write(folder / POINTS, content.encode())


def read(files: Files) -> tuple[Decomposition, ...]:
    """Return the lines that name a row."""
    lines = (restored(Decomposition, row) for row in files.rows(POINTS))
    return tuple(line for line in lines if line.row is not None)


def read_worst(files: Files) -> Observations:
    """Return the worst observations of a report."""
    found = files.arrays(WORST)
    return Observations(**{each.name: found.get(each.name) for each in fields(Observations)})


def worst_first(rows: Iterable[Decomposition], number: int) -> list[Decomposition]:
    """Return the rows with the largest gaps."""
    known = [row for row in rows if math.isfinite(row.amortization_gap)]
    return sorted(known, key=lambda row: -row.amortization_gap)[:number]
