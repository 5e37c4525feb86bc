"""What keeps the bounds of several runs from being compared."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from avi.comparison.runs import Row


class Apart(NamedTuple):
    """In what runs differ whose bounds cannot be compared."""

    bounds: list[str]  # the names of the bounds that were trained, if there are several
    data: bool
    likelihoods: list[str]  # if there are several


def apart(rows: Sequence[Row]) -> Apart:
    """Return in what the runs differ."""
    # An older run has recorded no identity of its rows: it is that of any other.
    digests = {row.data_sha256 for row in rows} - {""}
    sizes = {(row.settings.get("dataset._target_"), row.num_data) for row in rows}
    return Apart(
        bounds=_several(row.bound_name for row in rows),
        data=len(digests) > 1 or len(sizes) > 1,
        likelihoods=_several(row.likelihood for row in rows if row.likelihood),
    )


def comparable(rows: Sequence[Row]) -> bool:
    """Whether the bounds of all runs are of one kind and of the same data."""
    return not any(apart(rows))


def _several(names: Iterable[str]) -> list[str]:
    found = sorted(set(names))
    return found if len(found) > 1 else []
