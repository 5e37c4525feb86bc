"""Runs ranked, and what the first has over the others on the same rows."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from avi.comparison.comparable import comparable
from avi.comparison.runs import Row
from avi.results.comparison import Pair, held_out_split
from avi.results.record import grouped
from avi.settings import Split

RESAMPLES = 4000
LEVEL = 0.95
FEWEST = 30  # rows below which resampling says little


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Return the runs by the mean held-out bound of their configuration, the best first.

    Runs whose bounds cannot be compared keep their order.
    """
    if not comparable(rows):
        return list(rows)
    split = held_out_split(rows)

    def place(group: Sequence[Row]) -> float:
        mean = float(np.mean([row.bound(split).mean for row in group]))
        return -mean if np.isfinite(mean) else np.inf

    groups = grouped(rows, lambda row: row.label)
    return [row for group in sorted(groups.values(), key=place) for row in group]


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Return the first configuration against each other one, on the rows that all have measured.

    The interval resamples rows, together for both, and, where a configuration has several seeds,
    its seeds above them: a hierarchical bootstrap.
    """
    groups = grouped(rows, lambda row: row.label)
    if not comparable(rows) or len(groups) < 2:
        return []
    split = paired_split(rows)
    common = sorted(set.intersection(*(set(row.points[split]) for row in rows)))
    if len(common) < FEWEST:
        return []
    values = {
        label: np.array([[row.points[split][number] for number in common] for row in group])
        for label, group in groups.items()
    }
    first, *others = groups
    return [_pair(first, values[first], other, values[other], split) for other in others]


def paired_split(rows: Sequence[Row]) -> Split:
    """Return whose rows are compared: of a table, which is about training rows, those."""
    of_a_table = any(row.gap_split == "train" for row in rows)
    return "train" if of_a_table else held_out_split(rows)


def _pair(first: str, own: np.ndarray, other: str, values: np.ndarray, split: str) -> Pair:
    draws = _resampled(own, 1) - _resampled(values, 2)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    bound, gap = own.mean((0, 1)) - values.mean((0, 1))
    return Pair(
        first=first,
        other=other,
        split=split,
        rows=own.shape[1],
        seeds_first=len(own),
        seeds_other=len(values),
        bound=float(bound),
        bound_interval=(float(low[0]), float(high[0])),
        gap=float(-gap),
        gap_interval=(float(-high[1]), float(-low[1])),
    )


def _resampled(values: Float[np.ndarray, "s n 2"], side: int) -> Float[np.ndarray, "b 2"]:
    """Return means over seeds drawn anew, each side its own, and rows drawn anew, the same."""
    seeds, number, _ = values.shape
    rows = np.random.default_rng(0).integers(number, size=(RESAMPLES, number))
    drawn = np.random.default_rng(side).integers(seeds, size=(RESAMPLES, seeds))
    weights = np.stack([np.bincount(one, minlength=number) for one in rows]) / number
    of_seeds = np.einsum("bn,snk->bsk", weights, values)
    return np.take_along_axis(of_seeds, drawn[:, :, None], axis=1).mean(1)
