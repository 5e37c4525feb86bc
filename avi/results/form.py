"""form.npz: what a stored row looks like, by which a run is usable without the file it was made of.

No value of a row is in it: zeros of its shape, or the terms that training has seen.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from avi.results.store import Files, npz
from avi.rundir import atomic_write

FORM = "form.npz"


@dataclass(frozen=True)
class Form:
    """Stored rows: plain ones, or documents; None where they are the other."""

    row: np.ndarray | None = None  # zeros of the shape and dtype of one row
    terms: np.ndarray | None = None  # ids that occur in training documents
    vocabulary: np.ndarray | None = None  # term of every id, a line each, as bytes of UTF-8
    kept: np.ndarray | None = None  # of a person's own table, by column: whether it is x
    left_out: np.ndarray | None = None  # names of the others, as those of the vocabulary
    written: np.ndarray | None = None  # separator and decimal sign of a text, in the same way
    mean: np.ndarray | None = None  # by which x is standardised, of each of its columns
    deviation: np.ndarray | None = None

    @property
    def known(self) -> bool:
        """Whether it says what a row is."""
        return self.row is not None or (self.terms is not None and self.vocabulary is not None)


def write(folder: Path, form: Form) -> None:
    """Write form.npz of the run in `folder`."""
    arrays = {name: array for name, array in vars(form).items() if array is not None}
    atomic_write(folder / FORM, npz(arrays))


def read(files: Files) -> Form:
    """Return the arrays that are there."""
    found = files.arrays(FORM)
    return Form(**{each.name: found.get(each.name) for each in fields(Form)})
