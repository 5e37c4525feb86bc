"""Matrix Market (NIST): a matrix of numbers, whose zeros need not be written.

Read by hand: what scipy reads it with ends the process on some damaged files.
"""

import io
from pathlib import Path

import numpy as np

from avi.datasets.columns import Raw, Reading
from avi.datasets.foreign import require_room
from avi.datasets.formats import PACKED, read_unpacked
from avi.errors import DataError

EXTRA = "numpy"
OF_CELLS = "barcodes.tsv"  # beside it, a matrix of 10x Genomics has its genes down
SIGN = {"general": 0, "symmetric": 1, "skew-symmetric": -1}  # of what is mirrored
WIDTH = {"real": 3, "double": 3, "integer": 3, "pattern": 2}  # numbers on the line of an entry


def read(path: Path, reading: Reading, limit: int) -> Raw:
    """Return the matrix as it lies; one that has genes down is asked about."""
    del reading
    if any((path.parent / f"{OF_CELLS}{ending}").is_file() for ending in ("", *PACKED)):
        raise DataError(
            f"{path} has genes down, as 10x Genomics writes it: {OF_CELLS} is beside it. Say "
            f"dataset.path={path.parent}, which turns it and knows the names of the genes."
        )
    rows, form = matrix_of(path, limit)
    return Raw(rows, str(path), dress=(f"Matrix Market, {form}",))


def matrix_of(path: Path, limit: int) -> tuple[np.ndarray, str]:
    """Return the matrix in a file, packed or not, and what it says of its form.

    Raises:
        ValueError: it is malformed, holds no real numbers, or takes more than `limit` bytes.
    """
    lines = io.BytesIO(read_unpacked(path, limit))
    head = lines.readline().decode("latin1").lower().split()
    if head[:2] != ["%%matrixmarket", "matrix"] or len(head) != 5:
        raise ValueError("it does not begin with a line `%%MatrixMarket matrix ...`")
    form, field, symmetry = head[2:]
    sizes = _sizes(lines, 3 if form == "coordinate" else 2)
    height, width = sizes[:2]
    known = field in WIDTH and symmetry in SIGN and (form, symmetry) != ("array", "symmetric")
    if form not in ("coordinate", "array") or not known or min(height, width) < 1:
        raise ValueError(f"expected rows of real numbers, found {height} x {width}, {head[2:]}")
    require_room((height, width), limit)
    if form == "array":
        values = _numbers(lines, height * width, 1)
        rows = values.reshape(width, height).T
    else:
        entries = _numbers(lines, sizes[2], WIDTH[field])
        rows = _placed(entries, (height, width), SIGN[symmetry])
    if field == "integer":
        whole = rows.astype(np.int64)
        if (whole != rows).any():
            raise ValueError("it promises whole numbers and has others")
        rows = whole
    return rows, f"{form} {field}"


def _sizes(lines: io.BytesIO, number: int) -> list[int]:
    """Return what the first line without a % says: rows, columns and, if sparse, entries."""
    for line in lines:
        words = line.split()
        if words and not line.startswith(b"%"):
            if len(words) != number or not all(len(w) < 19 and w.isdigit() for w in words):
                break
            return list(map(int, words))
    raise ValueError(f"expected a line of {number} sizes")


def _numbers(lines: io.BytesIO, count: int, width: int) -> np.ndarray:
    """Return the numbers of all lines that follow [count, width]."""
    left = len(lines.getbuffer()) - lines.tell()
    if 2 * count > left + 1:
        raise ValueError(f"its header promises {count} entries, more than it has room for")
    if count == 0:
        return np.zeros((0, width))
    found = np.loadtxt(lines, ndmin=2, comments="%")
    if found.shape != (count, width):
        raise ValueError(
            f"its header promises {count} lines of {width} numbers; found {found.shape[0]} of "
            f"{found.shape[1]}"
        )
    return found


def _placed(entries: np.ndarray, shape: tuple[int, int], mirrored: int) -> np.ndarray:
    """Return a dense matrix of `row column value` from 1; without a value it is 1."""
    values = entries[:, 2] if entries.shape[1] > 2 else np.ones(len(entries))
    places = entries[:, :2]
    inside = (places >= 1) & (places <= shape) & (places == np.floor(places))
    if not inside.all():
        row, column = places[np.argmin(inside.all(axis=1))]
        raise ValueError(f"there is no place {row:g}, {column:g} in {shape[0]} x {shape[1]}")
    row, column = places.astype(np.int64).T - 1
    if len(np.unique(row * shape[1] + column)) < len(row):
        raise ValueError("a place occurs twice")
    rows = np.zeros(shape)
    rows[row, column] = values
    if mirrored:
        if shape[0] != shape[1]:
            raise ValueError("it promises to be symmetric and is not square")
        off = row != column
        rows[column[off], row[off]] = mirrored * values[off]
    return rows
