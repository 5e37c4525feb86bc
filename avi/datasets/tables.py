"""Rows of the user's own: .npz, .npy or .csv, one row per observation."""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from avi.datasets.contract import require_finite, require_support
from avi.datasets.formats import byte_limit, data_errors, load_array, read_file
from avi.errors import ConfigError, DataError
from avi.types import Support

Missing = Literal["refuse", "mask"]  # what becomes of values that are missing

SUFFIXES = (".npz", ".npy", ".csv")
SHOWN = 10  # names of columns in a message
MISSING = ("", "na", "nan", "n/a", "null", "none", "?")


@dataclass(frozen=True)
class Table:
    """Rows [N, D] and the words for their places."""

    rows: np.ndarray
    source: str
    columns: tuple[str, ...] | None = None  # of a .csv with a header
    first_line: int | None = None  # of a .csv: the line of row 0, counted from 1

    def name(self, column: int) -> str:
        """Return what a person calls a column: its name, else its number counted from 0."""
        return repr(self.columns[column]) if self.columns else str(column)

    def place(self, index: tuple[int, ...]) -> str:
        """Return where a person finds the value at `index`."""
        row, column = index
        name = self.name(column)
        if self.first_line is not None:
            return f"line {self.first_line + row}, column {name if self.columns else column + 1}"
        return f"row {row}, column {name} (counted from 0)"

    def require(self, support: Support) -> None:
        """Raise DataError unless every value lies in `support`."""
        require_support(self.rows, support, self.source, self.place)

    def ordered(self, columns: tuple[str, ...] | None) -> Self:
        """Return the table with its columns in this order, if they and it have names.

        Raises:
            DataError: the names are not the same.
        """
        if columns is None or self.columns is None or columns == self.columns:
            return self
        lacking = [name for name in columns if name not in self.columns]
        strange = [name for name in self.columns if name not in columns]
        if lacking or strange or len(self.columns) != len(columns):
            raise DataError(
                f"{self.source}: its columns are {_listed(self.columns)}; expected those of "
                f"training, {_listed(columns)}, in any order."
                + (f" Not there: {_listed(lacking)}." if lacking else "")
                + (f" Not known: {_listed(strange)}." if strange else "")
            )
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise DataError(
                f"{self.source}: two columns of training are called {twice[0]}, and these are in "
                "another order: which is which? Give them different names and train again."
            )
        order = [self.columns.index(name) for name in columns]
        return replace(self, rows=self.rows[:, order], columns=columns)

    def without_missing(self) -> Self:
        """Return the table with zeros for missing values."""
        return replace(self, rows=np.where(np.isnan(self.rows), 0, self.rows))

    def require_finite(self) -> None:
        """Raise DataError if a value is missing or infinite."""
        require_finite(self.rows, self.source, self.place)


def read_table(path: Path, array: str | None = None, header: bool | None = None) -> Table:
    """Return the rows of a file; an array with more than two axes has its rows flattened.

    `array` names one of an .npz with several; `header` says whether a .csv begins with names (None:
    it does if there is no number in its first line).

    Raises:
        ConfigError: the file is missing or of a kind that is not read.
        DataError: it is malformed or holds no rows.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file, seen from {Path.cwd()}.")
    if array is not None and path.suffix != ".npz":
        raise ConfigError(f"{path} holds one array only: leave out dataset.array={array}.")
    if path.suffix == ".csv":
        return _read_csv(path, header)
    rows = load_array(path, array)
    if rows.ndim < 2 or rows.size == 0:
        raise DataError(
            f"{path}: expected an array of rows, shape [N, D] with N and D at least 1; found shape "
            f"{list(rows.shape)}."
        )
    return Table(rows.reshape(len(rows), -1), str(path))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > SHOWN else shown


def masked(rows: np.ndarray) -> np.ndarray:
    """Return pairs (mask, value) [N, D, 2] of rows [N, D]: (0, 0) for what is missing."""
    seen = ~np.isnan(rows)
    dtype = rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64
    return np.stack([seen, np.where(seen, rows, 0)], axis=2).astype(dtype)


def read_observations(
    path: Path,
    array: str | None,
    support: Support,
    size: int,
    missing: Missing = "refuse",
    columns: tuple[str, ...] | None = None,
) -> np.ndarray:
    """Return rows [M, size] that are x as a bound scores it: in `support`, already binarised.

    Named columns are put into the order of `columns`. With missing="mask" the rows are pairs
    (mask, value), shape [M, size, 2].
    """
    table = read_table(path, array)
    if table.rows.shape[1] != size:
        raise DataError(
            f"{path}: expected rows of {size} numbers, as in training; found {table.rows.shape[1]}."
        )
    table = table.ordered(columns)
    if missing == "mask":
        table.without_missing().require(support)
        return masked(table.rows)
    table.require(support)
    return table.rows


def _read_csv(path: Path, header: bool | None) -> Table:
    content = read_file(path, byte_limit() // 4)
    with data_errors(str(path)):
        text = io.StringIO(content.decode("utf-8-sig").rstrip("\r\n"), newline="")
        lines = csv.reader(text, strict=True)
        first = next(lines, [])
        columns = _columns(first, header)
        first_line = 2 if columns else 1
        body = lines if columns else itertools.chain([first], lines)
        rows = [
            _numbers(words, len(first), f"{path}, line {number}")
            for number, words in enumerate(body, start=first_line)
        ]
    if not rows or not first:
        raise DataError(f"{path} holds no rows.")
    return Table(np.stack(rows), str(path), columns, first_line)


def _columns(first: list[str], header: bool | None) -> tuple[str, ...] | None:
    """Return the names of the columns if the first line holds names."""
    counting = [[str(start + place) for place in range(len(first))] for start in (0, 1)]
    if header is None and len(first) > 2 and first in counting:
        raise ValueError(
            "its first line counts the columns: say dataset.header=true if they are names, or "
            "dataset.header=false if they are data"
        )
    names = header if header is not None else _are_names(first)
    if names and first and not first[0].strip():
        raise ValueError("its first column has no name, as a row index has none: remove the column")
    return tuple(name.strip() for name in first) if names else None


def _numbers(words: list[str], width: int, line: str) -> np.ndarray:
    if len(words) != width:
        raise DataError(f"{line}: expected {width} columns, found {len(words)}.")
    return np.asarray([_number(word, line, column) for column, word in enumerate(words, start=1)])


def _number(word: str, line: str, column: int) -> float:
    try:
        return _parse(word)
    except ValueError as error:
        raise DataError(
            f"{line}, column {column}: expected a number, found {word[:40]!r}."
        ) from error


def _are_names(words: list[str]) -> bool:
    """Return whether there are words and no numbers; a missing value is neither."""
    values = [_parse_or_none(word) for word in words]
    has_numbers = any(value is not None and not math.isnan(value) for value in values)
    return None in values and not has_numbers


def _parse_or_none(word: str) -> float | None:
    try:
        return _parse(word)
    except ValueError:
        return None


def _parse(word: str) -> float:
    """Return the number, NaN for a missing one; stricter than Python, which takes 1_000."""
    word = word.strip()
    if word.lower() in MISSING:
        return math.nan
    if "_" in word:
        raise ValueError("not a number")
    return float(word)
