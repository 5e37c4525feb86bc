"""The one setting in which runs differ, where it is a number: a width, a size, a rate."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avi.comparison.runs import Row

FEWEST = 3  # values that make a curve


class Varied(NamedTuple):
    """A setting and its value in each configuration."""

    key: str
    values: Mapping[str, float]  # per label


def varied(rows: Sequence[Row]) -> Varied | None:
    """Return the setting, or None where several differ, or one that is no number."""
    keys = dict.fromkeys(key for row in rows for key in row.settings)
    differing = [key for key in keys if len({repr(row.settings.get(key)) for row in rows}) > 1]
    if len(differing) != 1:
        return None
    (key,) = differing
    values = {row.label: _number(row.settings.get(key)) for row in rows}
    known = {label: value for label, value in values.items() if value is not None}
    if len(known) < len(values) or len(set(known.values())) < FEWEST:
        return None
    return Varied(key, known)


def _number(value: Any) -> float | None:
    """Return a number, or that which all of a list are: `[64, 64]` is a width of 64."""
    if isinstance(value, list) and value and all(one == value[0] for one in value):
        value = value[0]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
