"""gap/summary.json: the means of a report, their errors, and what makes them believable.

All bounds and gaps are in nats per datapoint. evidence - bound = approximation_gap +
amortization_gap = inference_gap, in every row and so in every mean.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avi.results.flags import Validity
from avi.results.record import NAN, Count, Interval, Value, plain, restored
from avi.results.store import Files
from avi.rundir import atomic_write
from avi.rundir.files import encode
from avi.settings import Split

SUMMARY = "gap/summary.json"


class Estimated:
    """What has a mean, NaN where it is not known."""

    mean: float

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return math.isfinite(self.mean)


@dataclass(frozen=True)
class Mean(Estimated):
    """The mean over points, and what is uncertain about it."""

    mean: float = NAN
    se: float = NAN  # for the population of x: sd / sqrt(n), Monte Carlo noise included
    se_mc: float = NAN  # Monte Carlo noise alone: these x, this model
    se_split: float = NAN  # for this finite split: 0 noise of choice if all rows are in
    interval: Interval = None  # 95 %, bootstrap-t for the population; None below 30 points

    @property
    def half_width(self) -> float:
        """Half the interval's length, infinite without one."""
        return float("inf") if self.interval is None else (self.interval[1] - self.interval[0]) / 2


@dataclass(frozen=True)
class EvidenceMean(Mean):
    """The mean of log p(x), or of a bound on it."""

    kind: str = ""  # "exact", "lower" or "upper"


@dataclass(frozen=True)
class GapMean(Mean):
    """The mean of bound(lam*) - bound(lam), and how it is spread over the points."""

    median: float = NAN
    p95: float = NAN
    max: float = NAN
    guaranteed: float = NAN  # with 95 % confidence, whether or not lam* converged


@dataclass(frozen=True)
class SameBound(Estimated):
    """The gap in the bound that was trained, where that is not the ELBO; a lower bound on it."""

    name: str
    mean: float
    se: float
    certified: bool | None = False


@dataclass(frozen=True)
class Ended:
    """How the searches of some points ended that were not certified."""

    ending: str
    n: Count
    sentence: str


@dataclass(frozen=True)
class SplitSummary:
    """The points of one split."""

    n: Count
    size: Count  # of the whole split
    bound: Mean
    bound_star: Mean
    evidence: EvidenceMean
    importance_bound: EvidenceMean  # what its weights refuse the name of evidence
    amortization_gap: GapMean
    approximation_gap: Mean
    inference_gap: Mean
    certificate: Mean
    converged: Count
    proved: Count  # of which a theorem says so, not an estimate alone
    doubled: Count  # of which twice the search says so, where curvature says nothing
    endings: tuple[Ended, ...]
    negative: Count  # points whose gap came out below zero
    gradient_evaluations: float  # of the search, per point
    not_finite: Count  # points whose bound is not a finite number
    same_bound: SameBound | None


@dataclass(frozen=True)
class Sizes:
    """How many points of both splits a difference is made of."""

    train: Count
    test: Count


@dataclass(frozen=True)
class Generalisation(Estimated):
    """The gap of test rows less that of training rows."""

    mean: float
    se: float
    n: Sizes


@dataclass(frozen=True)
class StartRecord:
    """How often one start ended elsewhere than the mode's own lam."""

    start: str
    n: Count
    higher: Count
    lower: Count
    differ: float  # share of n


@dataclass(frozen=True)
class Doubling(Estimated):
    """What a second search from lam* gained, in nats."""

    n: Count
    mean: float
    se: float
    ok: bool | None


@dataclass(frozen=True)
class AuditRecord:
    """What other starts and second searches gained, in nats."""

    share: float
    points: Count
    improved: Count  # points
    largest: float
    all_points: bool | None  # all points were searched from the other starts
    starts: tuple[StartRecord, ...]
    doubling: Doubling | None
    second_opinions: Count = NAN  # points that were also climbed from elsewhere
    second_gains: Count = NAN  # of which that ended higher
    winners: Mapping[str, Count] = field(default_factory=dict)  # start -> points it found lam* of

    @property
    def may_gain(self) -> float:
        """Share of all points that may gain with 95 % confidence, if none of these did; else NaN.

        The exact binomial limit.
        """
        return 1 - 0.05 ** (1 / self.points) if self.points > 0 == self.improved else NAN


@dataclass(frozen=True)
class SandwichStep:
    """Bounds from both sides on simulated data at one number of temperatures."""

    num_temperatures: Count
    width: float  # nats
    width_se: float
    width_interval: Interval
    ess_ratio: float  # effective number of chains, real over simulated rows
    doubling: float  # nats that the last doubling added on real rows

    @property
    def apart(self) -> Value:
        """The width and its standard error."""
        return Value(self.width, self.width_se)


@dataclass(frozen=True)
class Sandwich(SandwichStep):
    """The last step, whether it settles the evidence, and the steps before it."""

    n: Count
    transfers: bool | None  # real rows are like simulated ones
    inside: float  # share of the real rows whose bound lies in the range of the simulated ones
    ok: bool | None
    history: tuple[SandwichStep, ...]


@dataclass(frozen=True)
class FrontierStep:
    """What a number of local steps has gained, and what it costs per observation."""

    steps: Count  # NaN: until every point was certified
    mean: float
    se: float
    milliseconds: float = NAN
    gradient_evaluations: float = NAN

    @property
    def gain(self) -> Value:
        """The nats gained."""
        return Value(self.mean, self.se)


@dataclass(frozen=True)
class Worst:
    """One of the points that lose most."""

    row: Count
    split: str
    gap: float


@dataclass(frozen=True)
class GapSummary:
    """The content of gap/summary.json."""

    gap_name: str  # "amortization gap" or "optimisation gap"
    bound: str  # that the report is in
    objective_trained: str
    label: str  # the gap's full name
    seed: Count
    num_draws: Count
    tolerance: float
    width: Count
    half_width: float
    doublings: Count
    splits: Mapping[Split, SplitSummary]
    generalisation_gap: Generalisation | None
    audit: AuditRecord
    sandwich: Sandwich | None
    sandwich_due: bool | None
    frontier: Mapping[Split, tuple[FrontierStep, ...]]
    worst: tuple[Worst, ...]
    not_finite: tuple[Count, ...]  # ids of the rows whose bound is not a finite number
    validity: Validity
    skipped: tuple[str, ...]  # what was left out, and why
    seconds: float
    rows: str = ""  # which of the user's own were asked for; none: they were drawn


def write(folder: Path, summary: GapSummary) -> None:
    """Write gap/summary.json of the run in `folder`."""
    atomic_write(folder / SUMMARY, (encode(plain(summary)) + "\n").encode())


def read(files: Files) -> GapSummary | None:
    """Return the summary of a run's gap report, None where there is none to read."""
    tree: Any = files.json(SUMMARY)
    if tree is None or not isinstance(tree.get("splits"), Mapping):
        return None
    return restored(GapSummary, tree)
