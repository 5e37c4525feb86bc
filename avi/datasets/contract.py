"""What rows must be before a likelihood sees them; every refusal names the places."""

from collections.abc import Callable

import numpy as np

from avi.errors import DataError
from avi.types import Support

Place = Callable[[tuple[int, ...]], str]  # from an index into the array to words for a person

SHOWN = 3  # offending places listed in a message
LARGEST_COUNT = 2**24  # float32 holds every integer up to here

_EXPECTED: dict[Support, str] = {
    "binary": "only 0 and 1",
    "unit": "numbers from 0 to 1",
    "count": f"whole numbers from 0 to {LARGEST_COUNT}",
    "positive": "numbers above 0",
    "real": "finite numbers",
}
_ADVICE: dict[Support, str] = {
    "binary": "Grey values from 0 to 1 become bits with dataset.binarize=fixed.",
    "unit": "Scale them (dataset.white=255 divides bytes), or use dataset.support=real.",
    "count": "Use dataset.support=real for measurements.",
    "positive": "Use dataset.support=real for numbers of both signs.",
    "real": "",
}


def require_support(
    rows: np.ndarray, support: Support, source: str, place: Place, advice: str | None = None
) -> None:
    """Raise DataError unless every value of `rows` lies in `support`; it ends with `advice`."""
    require_finite(rows, source, place)
    wrong = outside(rows, support)
    if wrong.any():
        raise DataError(
            f"{source}: expected {_EXPECTED[support]}, found {_places(rows, wrong, place)}. "
            f"{_ADVICE[support] if advice is None else advice}".rstrip()
        )


def outside(rows: np.ndarray, support: Support) -> np.ndarray:
    """Return which values of `rows` do not lie in `support`."""
    return ~np.isfinite(rows) | _OUTSIDE[support](rows)


def require_finite(rows: np.ndarray, source: str, place: Place) -> None:
    """Raise DataError if a value is missing or infinite."""
    infinite = ~np.isfinite(rows)
    if infinite.any():
        raise DataError(
            f"{source}: expected finite numbers, found {_places(rows, infinite, place)}. "
            "Remove those rows, fill missing values in, or say dataset.missing=mask with a model "
            "that leaves them out, e.g. model=linear_gaussian."
        )


_OUTSIDE: dict[Support, Callable[[np.ndarray], np.ndarray]] = {
    "binary": lambda rows: (rows != 0) & (rows != 1),
    "unit": lambda rows: (rows < 0) | (rows > 1),
    "count": lambda rows: (rows < 0) | (rows > LARGEST_COUNT) | (rows != np.floor(rows)),
    "positive": lambda rows: rows <= 0,
    "real": lambda rows: np.zeros(rows.shape, bool),
}


def _places(rows: np.ndarray, outside: np.ndarray, place: Place) -> str:
    indices = [tuple(map(int, index)) for index in np.argwhere(outside)[:SHOWN]]
    words = [f"{_word(rows[index])} at {place(index)}" for index in indices]
    more = int(outside.sum()) - len(words)
    return "; ".join(words) + (f"; and {more} more" if more else "")


def _word(value: np.generic) -> str:
    return "a missing value" if np.isnan(value) else str(value)
