"""Rows of the user's own, from any file or folder that is read: one row per observation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from avi.datasets.cells import Dress, read_sheet
from avi.datasets.columns import (
    Choice,
    Raw,
    Reading,
    choose,
    classes,
    listed,
    places_of,
    require_numbers,
    row_names,
    word,
)
from avi.datasets.contract import outside, require_finite, require_support
from avi.datasets.foreign import ENDINGS, NAMED, SPARSE, is_foreign, read_foreign
from avi.datasets.formats import PACKED, byte_limit, kind_of, load_array
from avi.errors import ConfigError, DataError
from avi.mapped import Mapped, Rows, blocks, converted, every, total
from avi.process.grammar import many
from avi.types import Layout, Support

Missing = Literal["refuse", "mask"]  # what becomes of values that are missing

TEXTS = (".csv", ".tsv")
ARRAYS = (".npy", ".npz")
HOLDERS = (".npz", *NAMED)  # of several arrays
PICKLES = (".pkl", ".pickle", ".joblib", ".p")
SEVERAL = 3  # values outside the support in one column: it is another kind of column
UNSAID = Dress()
PLAIN = Reading()  # all columns, as the file has them


@dataclass(frozen=True)
class Table:
    """Rows [N, D] and the words for their places."""

    rows: Rows
    source: str
    columns: tuple[str, ...] | None = None  # of a text with a header
    first_line: int | None = None  # of a text: the line of row 0, counted from 1
    labels: np.ndarray | None = None  # [N], classes
    row_names: tuple[str, ...] | None = None
    layout: Layout | None = None  # of the file
    chosen: bool = False  # whether a person named the columns
    understood: tuple[str, ...] = ()  # how it was read, a line each

    def name(self, column: int) -> str:
        """Return what a person calls a column: its name, else its number counted from 0."""
        return repr(self.columns[column]) if self.columns else str(self._number(column))

    def key(self, column: int) -> str:
        """Return what the command line calls a column."""
        return self.columns[column] if self.columns else str(self._number(column))

    def place(self, index: tuple[int, ...]) -> str:
        """Return where a person finds the value at `index`."""
        row, column = index
        name = self.name(column)
        if self.first_line is not None:
            where = name if self.columns else self._number(column) + 1
            return f"line {self.first_line + row}, column {where}"
        return f"row {row}, column {name} (counted from 0)"

    def _number(self, column: int) -> int:
        """Return the place in the file of a column of x."""
        return column if self.layout is None else int(np.flatnonzero(self.layout.kept)[column])

    def require(self, support: Support) -> None:
        """Raise DataError unless every value lies in `support`."""
        try:
            require_support(self.rows, support, self.source, self.place)
        except DataError:
            wrong = total(self.rows, lambda block: outside(block, support).sum(axis=0))
            odd = np.flatnonzero(wrong).tolist()
            alone = len(odd) == 1 < self.rows.shape[1] and wrong.max() >= SEVERAL
            if not alone or not every(self.rows, np.isfinite):
                raise
            out = self.key(odd[0])
            advice = (
                f"All are in this column: if it is no part of x, say {word('drop', [out])}, or "
                f"{word('label', out)} where it is a class label."
            )
            require_support(self.rows, support, self.source, self.place, advice)

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
                f"{self.source}: its columns are {listed(self.columns)}; expected those of "
                f"training, {listed(columns)}, in any order."
                + (f" Not there: {listed(lacking)}." if lacking else "")
                + (f" Not known: {listed(strange)}." if strange else "")
            )
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise DataError(
                f"{self.source}: two columns of training are called {twice[0]}, and these are in "
                "another order: which is which? Give them different names and train again."
            )
        order = [self.columns.index(name) for name in columns]
        rows = converted(self.rows, lambda block: block[:, order])
        return replace(self, rows=rows, columns=columns, layout=None)

    def without_missing(self) -> Self:
        """Return the table with 1, a value of every support, for each that is missing."""
        return replace(
            self, rows=converted(self.rows, lambda block: np.where(np.isnan(block), 1, block))
        )

    def require_finite(self) -> None:
        """Raise DataError if a value is missing or infinite."""
        require_finite(self.rows, self.source, self.place)


def read_table(path: Path, reading: Reading = PLAIN) -> Table:
    """Return the rows of a file, in the columns that are x.

    An array with more than two axes has its rows flattened.

    Raises:
        ConfigError: the file is missing, of a kind that is not read, or lacks a column.
        DataError: it is malformed, holds no rows or text, or can be read in two ways.
    """
    raw = _raw(path, reading)
    choice = choose(raw, reading)
    table = _table(raw, choice.kept)
    names = tuple(name for name in raw.names or () if name not in (table.columns or ()))
    return replace(
        table,
        labels=raw.labels if choice.label is None else classes(raw, choice.label),
        row_names=raw.row_names if choice.index is None else row_names(raw, choice.index),
        layout=Layout(choice.kept, names, *raw.form),
        chosen=isinstance(reading.columns, tuple),
        understood=_understood(raw, choice, table),
    )


def read_again(
    path: Path, reading: Reading, layout: Layout | None, columns: tuple[str, ...] | None
) -> Table:
    """Return rows of another file in the columns of training: by name where both have names.

    What was no column of x there may be here or not.

    Raises:
        ConfigError, DataError: as in `read_table`; or the columns are not those of training.
    """
    layout = layout or Layout(np.ones(0, bool))
    known = Dress(columns is not None, layout.separator, layout.decimal)
    named = () if columns is None else (*columns, *layout.left_out)
    raw = _raw(path, replace(reading, label=None, known=named), known)
    kept = places_of(raw, layout, columns)
    require_numbers(raw, kept)
    table = _table(raw, kept).ordered(columns)
    has_names = reading.index is not None and str(reading.index) in (raw.names or ())
    index = raw.place(reading.index, "index") if has_names and reading.index is not None else None
    out = [name for name, own in zip(raw.names or (), kept, strict=False) if not own]
    new = listed([name for name in out if name not in layout.left_out])
    return replace(
        table,
        row_names=raw.row_names if index is None else row_names(raw, index),
        understood=(f"{path.name}: left out, unknown in training: {new}.",) if new else (),
    )


def masked(rows: np.ndarray) -> np.ndarray:
    """Return pairs (mask, value) [N, D, 2] of rows [N, D]: (0, 0) for what is missing."""
    seen = ~np.isnan(rows)
    dtype = rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64
    return np.stack([seen, np.where(seen, rows, 0)], axis=2).astype(dtype)


def observations(table: Table, support: Support, size: int, missing: Missing) -> Rows:
    """Return rows [M, size] that are x as a bound scores it: in `support`, already binarised.

    With missing="mask" the rows are pairs (mask, value), shape [M, size, 2].
    """
    if table.rows.shape[1] != size:
        raise DataError(
            f"{table.source}: expected rows of {many(size, 'number')}, as in training; found "
            f"{table.rows.shape[1]}."
        )
    if missing == "mask":
        table.without_missing().require(support)
        return converted(table.rows, masked)
    table.require(support)
    return table.rows


def _raw(path: Path, reading: Reading, known: Dress = UNSAID) -> Raw:
    """Return all columns; `known` is what a file is taken for where it does not say."""
    kind, packable = kind_of(path), (*SPARSE, *TEXTS)
    if kind in PICKLES:
        raise ConfigError(
            f"{path} is a pickle, which can run code when it is read: it is never opened. Write "
            "the rows as .npy, .csv or .parquet."
        )
    endings = (*ARRAYS, *ENDINGS, *TEXTS)
    if kind not in (packable if path.suffix in PACKED else endings) and not path.is_dir():
        raise ConfigError(
            f"{path}: expected a file that ends in {', '.join(endings)}, texts also packed, "
            f"{' or '.join(PACKED)}; or a folder of images or of a 10x matrix."
        )
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file, seen from {Path.cwd()}.")
    if reading.array is not None and kind not in HOLDERS:
        raise ConfigError(f"{path} holds one array only: leave out dataset.array={reading.array}.")
    if is_foreign(path):
        raw = read_foreign(path, reading)
    elif kind in TEXTS:
        raw = _of_text(path, reading, known)
    else:
        rows = load_array(path, reading.array)
        if rows.ndim < 2 or 0 in rows.shape:
            raise DataError(
                f"{path}: expected an array of rows, shape [N, D] with N and D at least 1; found "
                f"shape {list(rows.shape)}."
            )
        rows = rows if isinstance(rows, Mapped) else rows.reshape(len(rows), -1)
        raw = Raw(rows, str(path), dress=(f"an array of {rows.dtype}",))
    if not reading.codes:
        return raw
    codes = reading.codes
    rows = converted(raw.rows, lambda block: np.where(np.isin(block, codes), np.nan, block))
    number = total(raw.rows, lambda block: int(np.isin(block, codes).sum()))
    said = f"{number} times {', '.join(f'{code:g}' for code in codes)}"
    return replace(raw, rows=rows, dress=(*raw.dress, f"{said} missing"))


def _of_text(path: Path, reading: Reading, known: Dress) -> Raw:
    sheet = read_sheet(path, reading.dress, known, byte_limit() // 4, reading.wanted)
    return Raw(
        np.stack([column.values for column in sheet.columns], axis=1),
        str(path),
        sheet.names,
        sheet.first_line,
        tuple(sheet.columns),
        sheet.said,
        sheet.form,
    )


def _table(raw: Raw, kept: np.ndarray) -> Table:
    rows = raw.rows if kept.all() else converted(raw.rows, lambda block: block[:, kept])
    columns = None
    if raw.names is not None:
        columns = tuple(name for name, own in zip(raw.names, kept, strict=True) if own)
    return Table(rows, raw.source, columns, raw.first_line, layout=Layout(kept))


def _understood(raw: Raw, choice: Choice, table: Table) -> tuple[str, ...]:
    """Return the lines that say how a file was read: its form, then its columns."""
    number, size = table.rows.shape
    shape = f"{many(number, 'row')} of {many(size, 'number')}"
    form = f"{Path(raw.source).name}: {shape}; {', '.join(raw.dress)}."
    parts = _of_columns(raw, choice, table)
    text = "; ".join(parts)
    return (form, f"{text[0].upper()}{text[1:]}.") if parts else (form,)


def _of_columns(raw: Raw, choice: Choice, table: Table) -> list[str]:
    """Return what is not plain in the columns of a file."""
    rows, parts = table.rows, []
    if choice.left_out:
        out = listed([raw.name(place) for place in choice.left_out], 20)
        why = " or ".join(dict.fromkeys(choice.left_out.values()))
        parts.append(f"left out: {out} ({why}; dataset.columns=all keeps it)")
    if choice.label is not None:
        found = len(np.unique(classes(raw, choice.label)))
        parts.append(f"labels: {raw.name(choice.label)} ({found})")
    elif raw.labels is not None:
        parts.append(f"labels: {many(len(np.unique(raw.labels)), 'kind')}")
    if choice.index is not None:
        parts.append(f"row names: {raw.name(choice.index)}")
    absent, constant = _absent_and_constant(rows)
    if absent.any():
        columns = many(int(np.count_nonzero(absent)), "column")
        parts.append(f"missing: {many(int(absent.sum()), 'value')} in {columns}")
    if len(rows) > 1 and constant.size:
        parts.append(f"constant: {listed([table.key(column) for column in constant.tolist()], 20)}")
    return parts


def _absent_and_constant(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return how many values each column lacks, and the columns that do not vary."""
    first, absent, constant = rows[:1], np.zeros(rows.shape[1], int), np.ones(rows.shape[1], bool)
    for _, block in blocks(rows):
        if rows.dtype.kind == "f":
            absent += np.isnan(block).sum(axis=0)
        constant &= (block == first).all(axis=0)
    return absent, np.flatnonzero(constant)
