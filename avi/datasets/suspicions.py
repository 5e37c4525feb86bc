"""What in a table of numbers looks like a mistake, in sentences that name column, row and value."""

import numpy as np

from avi.datasets.columns import COUNTED, word
from avi.datasets.tables import Table
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


def _far(table: Table) -> list[str]:
    """Name values far beyond all others of their column: codes for missing, corrupted cells."""
    places = []
    for column, values in enumerate(table.rows.T):
        coded = np.isin(values, SENTINELS)
        known = values[np.isfinite(values) & ~coded]
        low, high = np.quantile(known, [0.25, 0.75]) if known.size else (0.0, 0.0)
        if high == low:
            continue
        beyond = np.fmax(low - values, values - high) / (high - low)
        if known.min() > 0:  # on their own scale, too: a long tail is no mistake
            above, quartiles = np.log(np.fmax(values, high) / high), np.log(high / low)
            beyond = np.where((values > high) & (above < LONG * quartiles), 0, beyond)
        # Counts have long tails of their own.
        counts = (known == np.floor(known)).all() and 0 <= known.min() and known.max() < MANY
        coded &= (values < 0) | (not counts)
        limit = np.where(coded, FAR_SENTINEL, np.inf if counts else FAR)
        places += [((row, column), low, high) for row in np.flatnonzero(beyond > limit)]
    if not places:
        return []
    words = "; ".join(
        f"{table.rows[place]:g} at {table.place((int(place[0]), place[1]))}, where half of the "
        f"values are {low:g} to {high:g}"
        for place, low, high in places[:SHOWN]
    )
    more = f"; and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    found = {float(table.rows[place]) for place, *_ in places}
    codes = ",".join(f"{code:g}" for code in sorted(found.intersection(SENTINELS)))
    say = f"If they stand for missing values, say dataset.missing=[{codes}]. " if codes else ""
    return [
        f"{table.source}: far from all others: {words}{more}. {say}If they are damaged, remove "
        "these rows, or empty the cells and say dataset.missing=mask; missing entries take "
        "model=linear_gaussian."
    ]


def _rounded(table: Table) -> list[str]:
    """Name columns whose values single precision can hardly tell apart."""
    rows = np.where(np.isfinite(table.rows), table.rows, 0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        spacing = np.spacing(np.abs(rows).max(axis=0).astype(np.float32)).astype(np.float64)
        deviation = rows.std(axis=0)
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
    if rows.shape[1] < IMAGE or not rows.min() >= 0:  # nor where one is missing
        return []
    of_text = rows.dtype.kind == "f" and rows.max() == white and (rows == np.floor(rows)).all()
    if not (1 < rows.max() <= white and (rows.dtype.kind in "iu" or of_text)):
        return []
    return [
        f"{table.source}: whole numbers from 0 to {rows.max():g} look like the grey values of "
        "images and are taken for measurements. For a density of grey values say "
        "dataset.support=unit dataset.white=255, for bits dataset.support=binary "
        "dataset.binarize=fixed dataset.white=255."
    ]


def _counts(table: Table) -> list[str]:
    """Say so where whole numbers with many zeros, counts of something, are taken for measurements.

    Bytes of images are told apart from them by `_bytes`, bits by their values.
    """
    rows, zeros = table.rows, (table.rows == 0).mean()
    whole = np.isfinite(rows).all() and rows.min() >= 0 and (rows == np.floor(rows)).all()
    if not whole or not 1 < rows.max() < MANY or zeros < ZEROS or _bytes(table):
        return []
    return [
        f"{table.source}: whole numbers from 0 to {rows.max():g}, {zeros:.0%} of them 0, are taken "
        "for measurements. If they are counts, say dataset.support=count "
        "likelihood=negative_binomial."
    ]


def _counters(table: Table) -> list[str]:
    """Name columns that go up by one from row to row, unless a person has named the columns."""
    number = len(table.rows)
    if number < 3 or table.chosen:
        return []

    def rises(values: np.ndarray) -> np.ndarray:
        return (np.diff(values.astype(float), axis=0) == 1).all(axis=0)

    likely = np.flatnonzero(rises(table.rows[:COUNTED])).tolist()
    counting = [column for column in likely if rises(table.rows[:, column])]
    return [
        f"{table.source}: column {table.name(column)} counts the rows, from "
        f"{table.rows[0, column]:g}, and is trained on like a measurement. Leave it out with "
        f"{word('drop', [table.key(column)])}, if it is none."
        for column in counting[:SHOWN]
        if number >= COUNTED or table.rows[0, column] in (0, 1)
    ]


def _labels(table: Table) -> list[str]:
    """Name a column that is called a label and holds a few whole numbers."""
    if table.columns is None or table.chosen or len(table.columns) == 1:
        return []
    likely = [place for place, name in enumerate(table.columns) if name.lower() in LABELS]
    values = {table.columns[place]: np.unique(table.rows[:, place]) for place in likely}
    return [
        f"{table.source}: column {name!r} looks like class labels and is trained on like a "
        f"measurement. Say {word('label', name)} to carry it as labels."
        for name, found in values.items()
        if len(found) <= CLASSES and (found == np.floor(found)).all()
    ]
