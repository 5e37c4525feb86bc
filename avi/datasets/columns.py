"""Which columns of a table are x: those that a person names, else all that are measurements.

A column that only counts or names the rows is left out, with a word; a column of text is refused
together with all others, and with what to type.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from avi.datasets.cells import Column, Dress
from avi.errors import ConfigError, DataError
from avi.mapped import Rows, column
from avi.process.grammar import many
from avi.types import Decimal, Layout, Separator

Name = str | int | float  # of a column; a number from 0 where the columns have no names
Columns = Literal["all"] | tuple[Name, ...] | None

COUNTED = 10  # rows from which on numbers 0, 1, 2, ... are no coincidence
INDEX_NAMES = ("id", "index", "row", "rownames")
UNNAMED = re.compile(r"Unnamed: \d+|__index_level_\d+__")  # by pandas


@dataclass(frozen=True)
class Reading:
    """How a person wants a table to be read."""

    array: str | None = None  # the name of one in an .npz with several
    dress: Dress = Dress()
    codes: tuple[float, ...] = ()  # numbers that stand for missing values
    columns: Columns = "all"  # of x, in the order of the file; None: what the file itself suggests
    drop: tuple[Name, ...] = ()
    label: Name | None = None
    index: Name | None = None  # the column with the names of the rows
    known: tuple[str, ...] = ()  # of training, for a format that leaves out what is 0

    @property
    def wanted(self) -> tuple[str | int, ...]:
        """The columns whose cells are kept as written, by name and by number."""
        keys = [str(key) for key in (self.label, self.index) if key is not None]
        return (*keys, *(int(key) for key in keys if key.isdecimal()))


@dataclass(frozen=True)
class Raw:
    """All columns of a file, with NaN for what is no number."""

    rows: Rows  # [N, W]
    source: str
    names: tuple[str, ...] | None = None
    first_line: int | None = None  # of row 0 in a text, counted from 1
    columns: tuple[Column, ...] | None = None  # of a text: what the cells held
    dress: tuple[str, ...] = ()  # what was understood of its form, in words
    form: tuple[Separator | None, Decimal | None] = (None, None)  # of a text
    row_names: tuple[str, ...] | None = None  # where they are no column
    labels: np.ndarray | None = None  # [N], classes, where they are no column

    def name(self, place: int) -> str:
        """Return what a person calls a column."""
        return self.names[place] if self.names else str(place)

    def place(self, key: Name, what: str) -> int:
        """Return where a column stands.

        Raises:
            ConfigError: there is none, or more than one.
        """
        word, width = str(key), self.rows.shape[1]
        names = self.names or tuple(map(str, range(width)))
        if names.count(word) == 1:
            return names.index(word)
        if word in names:
            raise ConfigError(f"dataset.{what}: {self.source} has several columns {word}.")
        close = difflib.get_close_matches(word, names, n=1)
        known = f"It has {listed(names)}" if self.names else f"It has 0 to {width - 1}, unnamed"
        raise ConfigError(
            f"dataset.{what}: {self.source} has no column {word}. {known}."
            + (f" Did you mean {close[0]}?" if close else "")
        )


@dataclass(frozen=True)
class Choice:
    """Which columns are x, and why others are not."""

    kept: np.ndarray  # bool [W]
    left_out: dict[int, str]  # column -> why, for those that nobody named
    label: int | None
    index: int | None


def choose(raw: Raw, reading: Reading) -> Choice:
    """Return the columns of x.

    Raises:
        ConfigError: a named column is not there, or none is left.
        DataError: a column of x is text, or holds a cell that is no number.
    """
    width = raw.rows.shape[1]
    label, index = (
        None if key is None else raw.place(key, what)
        for key, what in ((reading.label, "label"), (reading.index, "index"))
    )
    dropped = [raw.place(key, "drop") for key in reading.drop]
    kept = np.ones(width, bool)
    if isinstance(reading.columns, tuple):
        kept[:] = False
        kept[[raw.place(key, "columns") for key in reading.columns]] = True
    taken = [place for place in (label, index, *dropped) if place is not None]
    if isinstance(reading.columns, tuple) and (twice := [p for p in taken if kept[p]]):
        raise ConfigError(
            f"dataset.columns has {raw.name(twice[0])}, and so has dataset.drop, label or index: "
            "say one of them."
        )
    kept[taken] = False
    left_out = {}
    if reading.columns is None:
        left_out = {place: why for place, why in _counters(raw).items() if kept[place]}
        if len(left_out) < kept.sum():
            kept[list(left_out)] = False
        else:
            left_out = {}  # nothing else is there
    if not kept.any():
        if reading.columns == ():
            raise ConfigError(f"{raw.source}: no column is left. Try dataset.columns=all.")
        known = listed([raw.name(place) for place in range(width)])
        raise ConfigError(
            f"{raw.source}: no column is left for x. It has {known}; name fewer of them in "
            "dataset.drop, label and index."
        )
    _require_numbers(raw, kept, reading)
    return Choice(kept, left_out, label, index)


def places_of(raw: Raw, layout: Layout, columns: tuple[str, ...] | None) -> np.ndarray:
    """Return which columns of new data may be x, bool [W].

    Those left out in training are not, nor are others that count or name the rows.
    """
    width = raw.rows.shape[1]
    if raw.names is None or columns is None:
        return layout.kept if len(layout.kept) == width else np.ones(width, bool)
    counters = _counters(raw)
    others = [
        name not in columns
        and (name in layout.left_out or bool(UNNAMED.fullmatch(name)) or place in counters)
        for place, name in enumerate(raw.names)
    ]
    return ~np.array(others)


def _counters(raw: Raw) -> dict[int, str]:
    """Return the columns that count or name the rows, and what they hold."""
    rows, number = raw.rows, len(raw.rows)
    found = {}
    steps = rows[:COUNTED] - np.arange(len(rows[:COUNTED]))[:, None]
    # First by a few rows: a wide table is not subtracted from whole.
    likely = (steps == steps[:1]).all(axis=0) & np.isin(steps[0], (0, 1))
    for place in np.flatnonzero(likely).tolist() if number >= COUNTED else ():
        if (column(rows, place) - np.arange(number) == steps[0, place]).all():
            found[place] = "row numbers"
    for place, name in enumerate(raw.names or ()):
        nameless = bool(UNNAMED.fullmatch(name))
        if place in found or not (nameless or name.lower() in INDEX_NAMES):
            continue
        values = column(rows, place)
        whole = np.isfinite(values).all() and (values == np.floor(values)).all()
        of_text = raw.columns is not None and raw.columns[place].texts == number
        if (whole and len(np.unique(values)) == number) or (nameless and of_text):
            found[place] = "row names"
    return found


def require_numbers(raw: Raw, kept: np.ndarray) -> None:
    """Raise DataError unless the cells of these columns are numbers or missing."""
    _require_numbers(raw, kept, None)


def _require_numbers(raw: Raw, kept: np.ndarray, reading: Reading | None) -> None:
    if raw.columns is None:
        return
    columns = {place: raw.columns[place] for place in np.flatnonzero(kept).tolist()}
    texts = [place for place, one in columns.items() if one.texts > one.numbers + one.truths]
    if texts and reading is not None:
        raise DataError(f"{raw.source}: {_of_text([raw.name(p) for p in texts], reading)}")
    for place, one in columns.items():
        name = repr(raw.names[place]) if raw.names else str(place + 1)
        if one.strange:
            row, word = one.strange[0]
            more = f"; and {one.texts - 1} more" if one.texts > 1 else ""
            where = f"row {row}" if raw.first_line is None else f"line {raw.first_line + row}"
            raise DataError(
                f"{raw.source}, {where}, column {name}: expected a number, found "
                f"{word[:40]!r}{more}."
            )
        if one.truths and one.numbers:
            raise DataError(
                f"{raw.source}: column {name} holds {many(one.numbers, 'number')} and "
                f"{many(one.truths, 'time')} True or False. Write one or the other."
            )


def _of_text(names: list[str], reading: Reading) -> str:
    """Return what to type where columns hold text."""
    columns = "columns" if len(names) > 1 else "column"
    before = list(map(str, reading.drop))
    chosen = reading.columns if isinstance(reading.columns, tuple) else ()
    if chosen:
        others = [str(name) for name in chosen if str(name) not in names]
        return f"{columns} {listed(names)} of dataset.columns hold text. Say " + (
            f"{word('columns', others)}." if others else "dataset.columns=null, or name others."
        )
    drop = word("drop", before + names)
    said = f"{columns} {listed(names)} {'hold' if len(names) > 1 else 'holds'} text. Say {drop}"
    if reading.label is not None:
        return f"{said}."
    rest = before + names[1:]
    also = f" {word('drop', rest)}" if rest else ""
    return f"{said}, or {word('label', names[0])}{also} to carry {names[0]} as class labels."


def word(key: str, value: str | list[str]) -> str:
    """Return the word of the command line that sets a key to one column or to several."""
    names = [value] if isinstance(value, str) else value
    plain = all(map(_is_plain, names))
    cells = ",".join(name if _is_plain(name) else f'"{name}"' for name in names)
    typed = f"dataset.{key}={cells}" if isinstance(value, str) else f"dataset.{key}=[{cells}]"
    return typed if plain else f"'{typed}'"


def _is_plain(name: str) -> bool:
    if name.lower() in ("true", "false", "null", "nan", "inf"):
        return False
    return bool(re.fullmatch(r"[A-Za-z_]\w*|0|[1-9]\d*", name, re.ASCII))


def listed(names: Sequence[str], room: int = 60) -> str:
    """Return as many names as fit into so many characters, at least one."""
    shown = list(names[:1])
    for name in names[1:]:
        if len(", ".join([*shown, name])) > room:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def column_of(cells: np.ndarray | Sequence[object]) -> Column:
    """Return a column of what a library has read: numbers, or numbers, truths, texts and None."""
    if isinstance(cells, np.ndarray):
        return Column(cells, int(np.isfinite(cells).sum()), 0, 0, [], None)
    there = [(row, cell) for row, cell in enumerate(cells) if cell is not None]
    truths = [row for row, cell in there if isinstance(cell, bool)]
    numbers = [row for row, cell in there if isinstance(cell, int | float) and cell == cell]
    texts = [(row, str(cell)) for row, cell in there if not isinstance(cell, int | float)]
    values = np.full(len(cells), np.nan)
    for row in numbers:
        values[row] = cells[row]
    words = ["" if cell is None else str(cell) for cell in cells]
    return Column(values, len(numbers) - len(truths), len(truths), len(texts), texts[:3], words)


def classes(raw: Raw, place: int) -> np.ndarray:
    """Return the label of every row [N]: whole numbers where all are, else text."""
    values = column(raw.rows, place)
    if np.isfinite(values).all() and (values == np.floor(values)).all():
        return values.astype(np.int64)
    return np.array(row_names(raw, place))


def row_names(raw: Raw, place: int) -> tuple[str, ...]:
    """Return what stands in a column, as text."""
    if raw.columns is None or raw.columns[place].words is None:
        return tuple(f"{value:g}" for value in column(raw.rows, place))
    return tuple(cell.strip() for cell in raw.columns[place].words or ())
