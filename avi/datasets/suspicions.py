"""What in a table of numbers looks like a mistake, in sentences that name column, row and value."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from avi.datasets.columns import COUNTED, word
from avi.datasets.tables import Table
from avi.mapped import blocks, column, every, largest, spread, total
from avi.types import Support

SENTINELS = (-1, -9, -99, -999, -9999, -99999, 99, 999, 9999, 99999, 999999)
FAR_SENTINEL, FAR = 6, 100  # distances between the quartiles of the others, beyond them
LOST = 1e-3  # of a column's deviation: what single precision may round away
LONG = 6  # distances between the quartiles of logarithms: what a long tail may reach
MANY = 1e6  # from which on whole numbers are no counts of anything in a table
ZEROS = 0.1  # share from which on whole numbers look like counts
IMAGE = 16  # numbers in a row from which on bytes look like an image
LABELS = ("label", "labels", "class", "target", "y")  # names of a column
CLASSES = 30  # from which on whole numbers are no classes
SHOWN = 3  # of one kind
FEWEST = 10  # rows whose quartiles tell what is far


def suspicions(table: Table, support: Support, *, single: bool) -> tuple[str, ...]:
    """Return what a person should look at before training on these rows.

    Args:
        table: the rows as read.
        support: what x is taken for; only real numbers can be far from one another.
        single: whether the run computes in single precision.
    """
    found = [*_counters(table), *_labels(table)]
    if support == "real":
        found += [*_far(table), *_bytes(table), *_counts(table)]
        found += _rounded(table) if single else []
    return tuple(found)


def far_values(table: Table, support: Support) -> tuple[str, ...]:
    """Return what a person should look at in rows that a trained model is to see."""
    return tuple(_far(table)) if support == "real" and len(table.rows) >= FEWEST else ()


@dataclass(frozen=True)
class _Usual:
    """Where most values of a column are: of all of them, or of many where they are on disk."""

    low: float  # quartiles
    high: float
    positive: bool
    counts: bool

    def is_far(self, values: np.ndarray) -> np.ndarray:
        """Return which values are far beyond the quartiles, a code for missing sooner."""
        beyond = np.fmax(self.low - values, values - self.high) / (self.high - self.low)
        if self.positive:  # on their own scale, too: a long tail is no mistake
            above = np.log(np.fmax(values, self.high) / self.high)
            long = above < LONG * np.log(self.high / self.low)
            beyond = np.where((values > self.high) & long, 0, beyond)
        # Counts have long tails of their own.
        coded = np.isin(values, SENTINELS) & ((values < 0) | (not self.counts))
        return beyond > np.where(coded, FAR_SENTINEL, np.inf if self.counts else FAR)


def _usual(values: np.ndarray) -> _Usual:
    known = values[np.isfinite(values) & ~np.isin(values, SENTINELS)]
    if not known.size:
        return _Usual(0.0, 0.0, positive=False, counts=False)
    low, high = np.quantile(known, [0.25, 0.75])
    least, most = known.min(), known.max()
    counts = (known == np.floor(known)).all() and 0 <= least and most < MANY
    return _Usual(low, high, positive=bool(least > 0), counts=bool(counts))


def _far(table: Table) -> list[str]:
    """Name values far beyond all others of their column: codes for missing, corrupted cells."""
    usual = [_usual(values) for values in spread(table.rows).T]
    reach = np.array([FAR_SENTINEL * (one.high - one.low) / 2 for one in usual])
    low, high = np.array([(one.low, one.high) for one in usual]).T
    places: list[tuple[int, int, np.generic]] = []
    number, codes_found = 0, set[float]()
    for first, block in blocks(table.rows):
        # Where the ends of a column are near its quartiles nothing in it is far.
        odd = (np.fmin.reduce(block) < low - reach) | (np.fmax.reduce(block) > high + reach)
        for place in np.flatnonzero(odd & (reach > 0)).tolist():
            values = block[:, place]
            beyond = np.flatnonzero(usual[place].is_far(values))
            number += len(beyond)
            codes_found |= set(values[beyond].astype(float).tolist()).intersection(SENTINELS)
            places += [(place, first + row, values[row]) for row in beyond[:SHOWN].tolist()]
    if not places:
        return []
    words = "; ".join(
        f"{value:g} at {table.place((row, place))}, where half of the values are "
        f"{usual[place].low:g} to {usual[place].high:g}"
        for place, row, value in sorted(places)[:SHOWN]
    )
    more = f"; and {number - SHOWN} more" if number > SHOWN else ""
    codes = ",".join(f"{code:g}" for code in sorted(codes_found))
    say = f"If they stand for missing values, say dataset.missing=[{codes}]. " if codes else ""
    return [
        f"{table.source}: far from all others: {words}{more}. {say}If they are damaged, remove "
        "these rows, or empty the cells and say dataset.missing=mask."
    ]


def _rounded(table: Table) -> list[str]:
    """Name columns whose values single precision can hardly tell apart."""

    def known(block: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(block), block, 0)

    def farthest(block: np.ndarray) -> np.ndarray:
        values = known(block)
        ends = values.max(axis=0).astype(np.float64), values.min(axis=0).astype(np.float64)
        return np.maximum(ends[0], -ends[1])

    from_zero = reduce(np.maximum, (farthest(block) for _, block in blocks(table.rows)))
    with np.errstate(over="ignore", invalid="ignore"):
        spacing = np.spacing(from_zero.astype(np.float32)).astype(np.float64)
        deviation = known(spread(table.rows)).astype(np.float64).std(axis=0)
    beyond = ~np.isfinite(spacing)  # its range
    lost = np.flatnonzero(beyond | ((deviation > 0) & (spacing > LOST * deviation)))
    if not lost.size:
        return []
    names = "; ".join(
        f"column {table.name(column)} has values beyond its range"
        if beyond[column]
        else f"column {table.name(column)} varies by {deviation[column]:.3g}, but its values are "
        f"only known to {spacing[column]:.3g}"
        for column in lost[:SHOWN]
    )
    return [
        f"{table.source}: single precision rounds these data: {names}. Say precision=float64, or "
        "subtract the mean of the column."
    ]


def _bytes(table: Table) -> list[str]:
    """Say so where rows look like grey images that are taken for measurements."""
    rows, white = table.rows, np.iinfo(np.uint8).max
    # Nor where one is missing.
    if rows.shape[1] < IMAGE or not every(rows, lambda block: _whole(block) & (block <= white)):
        return []
    most = largest(rows)
    if not (1 < most <= white and (rows.dtype.kind in "iu" or most == white)):
        return []
    return [
        f"{table.source}: whole numbers from 0 to {most:g} look like the grey values of "
        "images and are taken for measurements. For a density of grey values say "
        "dataset.support=unit dataset.white=255, for bits dataset.support=binary "
        "dataset.binarize=fixed dataset.white=255."
    ]


def _whole(values: np.ndarray) -> np.ndarray:
    """Return which values are whole numbers from 0 on."""
    return (values >= 0) & (values == np.floor(values))


def _counts(table: Table) -> list[str]:
    """Say so where whole numbers with many zeros, counts of something, are taken for measurements.

    Bytes of images are told apart from them by `_bytes`, bits by their values.
    """
    rows = table.rows
    if not every(rows, lambda block: _whole(block) & (block < MANY)) or _bytes(table):
        return []
    most = largest(rows)
    zeros = total(rows, lambda block: np.count_nonzero(block == 0)) / (len(rows) * rows.shape[1])
    if not most > 1 or zeros < ZEROS:
        return []
    return [
        f"{table.source}: whole numbers from 0 to {most:g}, {zeros:.0%} of them 0, are taken "
        "for measurements. If they are counts, say dataset.support=count "
        "likelihood=negative_binomial."
    ]


def _counters(table: Table) -> list[str]:
    """Name columns that go up by one from row to row, unless a person has named the columns."""
    number, begun = len(table.rows), table.rows[0]
    if number < 3 or table.chosen:
        return []

    def rises(values: np.ndarray) -> np.ndarray:
        return (np.diff(values.astype(float), axis=0) == 1).all(axis=0)

    likely = np.flatnonzero(rises(table.rows[:COUNTED])).tolist()
    counting = [place for place in likely if rises(column(table.rows, place))]
    return [
        f"{table.source}: column {table.name(place)} counts the rows, from "
        f"{begun[place]:g}, and is trained on like a measurement. Leave it out with "
        f"{word('drop', [table.key(place)])}, if it is none."
        for place in counting[:SHOWN]
        if number >= COUNTED or begun[place] in (0, 1)
    ]


def _labels(table: Table) -> list[str]:
    """Name a column that is called a label and holds a few whole numbers."""
    if table.columns is None or table.chosen or len(table.columns) == 1:
        return []
    likely = [place for place, name in enumerate(table.columns) if name.lower() in LABELS]
    values = {table.columns[place]: np.unique(column(table.rows, place)) for place in likely}
    return [
        f"{table.source}: column {name!r} looks like class labels and is trained on like a "
        f"measurement. Say {word('label', name)} to carry it as labels."
        for name, found in values.items()
        if len(found) <= CLASSES and (found == np.floor(found)).all()
    ]
