"""comparison.csv and comparison_seeds.csv: several runs side by side, unrounded."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avi.results.record import NAN, UNKNOWN, Count, Interval, Value, grouped, plain, restored, table
from avi.results.store import Files, write_atomically
from avi.settings import SPLITS, Split

COMPARISON, SEEDS = "comparison.csv", "comparison_seeds.csv"
PAIRS = "comparison_pairs.json"


@dataclass(frozen=True)
class Compared:
    """One run; bounds and gaps in nats per datapoint, costs as run.json states, NaN unknown."""

    folder: str
    label: str  # what tells its configuration apart from the others; runs that share it are seeds
    inference: str
    seed: Count
    status: str
    bound_name: str
    train_bound: float  # the last measurement
    train_bound_se: float
    valid_bound: float
    valid_bound_se: float
    test_bound: float
    test_bound_se: float
    gap_name: str
    gap_split: str  # whose gap it is; the evidence is of the rows held out last
    gap: float
    gap_se: float
    evidence: float
    evidence_se: float
    evidence_kind: str
    reconstruction: float  # E_q[log p(x | z)] on the rows held out last; less kl it is the ELBO
    kl: float
    active: Count  # latents in use
    num_variational_parameters: Count
    params_per_datapoint: Count
    num_data: Count
    data_sha256: str  # of the rows, empty where an older run did not record it
    likelihood: str  # its choice, where the model has one
    new_observation: str  # "forward pass" or "optimisation"
    new_gradient_evaluations: Count
    new_milliseconds_one: float
    new_milliseconds_batch: float
    epochs: Count
    seconds: float
    gradient_evaluations: Count

    def bound(self, split: Split) -> Value:
        """Return the last bound of a split."""
        return {
            "train": Value(self.train_bound, self.train_bound_se),
            "valid": Value(self.valid_bound, self.valid_bound_se),
            "test": Value(self.test_bound, self.test_bound_se),
        }[split]

    @property
    def gap_value(self) -> Value:
        """The mean gap and its standard error."""
        return Value(self.gap, self.gap_se)

    @property
    def evidence_value(self) -> Value:
        """The evidence and its standard error."""
        return Value(self.evidence, self.evidence_se)


@dataclass(frozen=True)
class Seeds:
    """Several runs of one configuration: means, and standard deviations over the runs."""

    label: str
    runs: Count
    split: str
    bound_mean: float
    bound_sd: float
    gap_mean: float
    gap_sd: float

    @property
    def bound(self) -> Value:
        """The mean bound and its standard deviation."""
        return Value(self.bound_mean, self.bound_sd)

    @property
    def gap(self) -> Value:
        """The mean gap and its standard deviation."""
        return Value(self.gap_mean, self.gap_sd)


@dataclass(frozen=True)
class Pair:
    """One configuration against another on the same rows, in nats per datapoint."""

    first: str
    other: str
    split: str
    rows: Count
    seeds_first: Count
    seeds_other: Count
    bound: float  # by which the ELBO of the first is higher
    bound_interval: Interval  # 95 %, rows and seeds resampled
    gap: float  # by which the gap of the first is smaller
    gap_interval: Interval


def held_out_split(rows: Sequence[Compared]) -> Split:
    """Return the split that every run measured last: test, else valid, else train."""
    for split in reversed(SPLITS):
        if all(row.bound(split).known for row in rows):
            return split
    return "train"


def summaries(rows: Sequence[Compared]) -> list[Seeds]:
    """Return mean and standard deviation over the runs of every label that has several."""
    split = held_out_split(rows)
    found = []
    for label, group in grouped(rows, lambda row: row.label).items():
        if len(group) > 1:
            bound = mean_and_deviation([row.bound(split).mean for row in group])
            gap = mean_and_deviation([row.gap for row in group])
            found.append(Seeds(label, len(group), split, *bound, *gap))
    return found


def mean_and_deviation(values: Sequence[float]) -> Value:
    """Return the mean and the sample standard deviation, UNKNOWN if any of the values is."""
    if not np.isfinite(values).all():
        return UNKNOWN
    return Value(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else NAN)


def write(
    folder: Path, compared: Sequence[Compared], seeds: Sequence[Seeds], pairs: Sequence[Pair] = ()
) -> list[Path]:
    """Write comparison.csv; seeds and pairs in files of their own where there are any."""
    written = [write_atomically(folder / COMPARISON, table(Compared, compared))]
    if pairs:
        content = json.dumps({"pairs": [plain(pair) for pair in pairs]}, indent=1) + "\n"
        written.append(write_atomically(folder / PAIRS, content))
    if seeds:
        written.append(write_atomically(folder / SEEDS, table(Seeds, seeds)))
    return written


def read(folder: Path) -> tuple[list[Compared], list[Seeds]]:
    """Return what `write` wrote, empty where there is nothing."""
    files = Files(folder)
    compared = [restored(Compared, row) for row in files.rows(COMPARISON)]
    return compared, [restored(Seeds, row) for row in files.rows(SEEDS)]


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs that `write` wrote, empty where there are none."""
    found = (Files(folder).json(PAIRS) or {}).get("pairs")
    listed = found if isinstance(found, list) else []
    return [restored(Pair, one) for one in listed]
