"""What rows must be before a likelihood sees them; every refusal names the places."""

from collections.abc import Callable

import numpy as np

from avi.errors import DataError
from avi.mapped import Rows, blocks
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
    rows: Rows, support: Support, source: str, place: Place, advice: str | None = None
) -> None:
    """Raise DataError unless every value of `rows` lies in `support`; it ends with `advice`."""
    found = _places(rows, lambda block: outside(block, support), place)
    if found:
        require_finite(rows, source, place)
        raise DataError(
            f"{source}: expected {_EXPECTED[support]}, found {found}. "
            f"{_ADVICE[support] if advice is None else advice}".rstrip()
        )


def outside(rows: np.ndarray, support: Support) -> np.ndarray:
    """Return which values of `rows` do not lie in `support`."""
    return ~np.isfinite(rows) | _OUTSIDE[support](rows)


def require_finite(rows: Rows, source: str, place: Place) -> None:
    """Raise DataError if a value is missing or infinite."""
    found = _places(rows, lambda block: ~np.isfinite(block), place)
    if found:
        raise DataError(
            f"{source}: expected finite numbers, found {found}. "
            "Remove those rows, fill missing values in, or say dataset.missing=mask with a model "
            "that leaves them out: model=vae, or model=linear_gaussian."
        )


_OUTSIDE: dict[Support, Callable[[np.ndarray], np.ndarray]] = {
    "binary": lambda rows: (rows != 0) & (rows != 1),
    "unit": lambda rows: (rows < 0) | (rows > 1),
    "count": lambda rows: (rows < 0) | (rows > LARGEST_COUNT) | (rows != np.floor(rows)),
    "positive": lambda rows: rows <= 0,
    "real": lambda rows: np.zeros(rows.shape, bool),
}


def _places(rows: Rows, test: Callable[[np.ndarray], np.ndarray], place: Place) -> str:
    """Return the first values for which `test` is true and where they are; empty without any."""
    words: list[str] = []
    number = 0
    for first, block in blocks(rows):
        wrong = test(block)
        number += int(np.count_nonzero(wrong))
        if len(words) < SHOWN and wrong.any():
            for row, *rest in np.argwhere(wrong)[: SHOWN - len(words)].tolist():
                where = place((first + row, *rest))
                words.append(f"{_word(block[(row, *rest)])} at {where}")
    more = number - len(words)
    return "; ".join(words) + (f"; and {more} more" if more else "")


def _word(value: np.generic) -> str:
    return "a missing value" if np.isnan(value) else str(value)
