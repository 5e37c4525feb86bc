"""Text in columns: which separator, which decimal sign, and whether the first line holds names.

What the file itself decides is read from it; where two readings are possible nothing is guessed:
a DataError says what to type.
"""

import csv
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avi.datasets.formats import data_errors, decode, read_unpacked
from avi.errors import DataError
from avi.process.grammar import many
from avi.types import Decimal, Separator

MARKS: dict[Separator, str] = {"comma": ",", "semicolon": ";", "tab": "\t"}
MISSING = ("", "na", "nan", "n/a", "null", "none", "?")
TRUTH = {"true": 1.0, "false": 0.0}
HEAD = 200  # lines from which the form of a file is told
BLOCK = 10_000  # lines that are text at a time
SHOWN = 3  # cells that are no numbers, of each column
YEARS = (1800, 2100)

_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")  # 1,5
_GROUPS = {  # thousands marked: 1,234 or 1.234, which is also a number with three decimals
    "dot": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"),
    "comma": re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?"),
}


@dataclass(frozen=True)
class Dress:
    """How a file writes its numbers; None where that is to be seen from the file."""

    header: bool | None = None  # whether the first line holds names
    separator: Separator | None = None
    decimal: Decimal | None = None


@dataclass
class Column:
    """One column as read; a cell that is no number counts as missing and is kept as strange."""

    values: np.ndarray  # [N]
    numbers: int  # cells that hold one
    truths: int  # cells with True or False
    texts: int  # cells with something else
    strange: list[tuple[int, str]]  # (row, cell) of the first of these
    words: list[str] | None  # all cells as written, where they are wanted


@dataclass(frozen=True)
class Sheet:
    """All columns of a text file."""

    columns: list[Column]
    names: tuple[str, ...] | None
    first_line: int  # of row 0, counted from 1
    form: tuple[Separator, Decimal]
    said: tuple[str, ...]  # what was understood, for a person


def read_sheet(
    path: Path, dress: Dress, known: Dress, limit: int, wanted: Sequence[str | int] = ()
) -> Sheet:
    """Return the columns of a text file of at most `limit` bytes, packed or not.

    `known` is what it is taken for where two readings are possible. The cells of the columns
    `wanted`, by name or by number, are kept as they are written.

    Raises:
        DataError: it is malformed, holds no rows, or can be read in two ways.
    """
    with data_errors(str(path)):
        text, encoding = decode(read_unpacked(path, limit))
        text = text.rstrip("\r\n")
        separator = dress.separator or _separator(text, known, str(path))
        head = list(itertools.islice(_lines(text, separator), HEAD))
        if not head or not head[0]:
            raise DataError(f"{path} holds no rows.")
        decimal = dress.decimal or _decimal(head[1:] or head, known, str(path))
        reader = Reader(decimal, thousands=dress.decimal is not None)
        names = _names(head, reader, dress, known, str(path))
        first_line = 1 if names is None else 2
        keep = [
            key in wanted or (names is not None and names[key] in wanted)
            for key in range(len(head[0]))
        ]
        body = itertools.islice(_lines(text, separator), first_line - 1, None)
        columns = _columns(body, reader, keep, first_line, str(path))
    if not len(columns[0].values):
        raise DataError(f"{path} holds no rows.")
    said = [f"split by {separator}s"] if len(columns) > 1 else []
    said += ["decimal comma"] if decimal == "comma" else []
    said += ["no header" if names is None else "header"]
    said += ["True/False as 1/0"] if any(column.truths for column in columns) else []
    said += [encoding] if encoding != "utf-8" else []
    return Sheet(columns, names, first_line, (separator, decimal), tuple(said))


# --- numbers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """From a cell to a number."""

    decimal: Decimal
    thousands: bool  # whether marks of thousands are read: only where a person named the decimal

    def number(self, word: str) -> float | None:
        """Return the number, NaN for a missing one, None for what is neither.

        Stricter than Python, which takes 1_000.
        """
        word = word.strip()
        if word.lower() in MISSING:
            return math.nan
        if _GROUPS[self.decimal].fullmatch(word):
            if not self.thousands:
                # With a decimal dot 1,234 is no number; 1.234 beside 1,5 may be one or another.
                return None
            word = word.replace("," if self.decimal == "dot" else ".", "")
        if self.decimal == "comma":
            word = word.replace(",", ".", 1)
        try:
            return float(word) if "_" not in word else None
        except ValueError:
            return None

    def column(self, words: Sequence[str], first: int, *, keep: bool) -> Column:
        """Return a column of cells, the first of which is that of row `first`."""
        kept = list(words) if keep else None
        if self.decimal == "dot" and "_" not in "".join(words):
            try:
                return Column(np.array(list(map(float, words))), len(words), 0, 0, [], kept)
            except ValueError:
                pass  # a missing value, or no number: cell by cell
        found = [self.number(word) for word in words]
        truths = texts = 0
        strange: list[tuple[int, str]] = []
        for place, word in enumerate(words):
            if found[place] is None:
                truth = TRUTH.get(word.strip().lower())
                found[place] = math.nan if truth is None else truth
                truths += truth is not None
                if truth is None:
                    texts += 1
                    strange += [(first + place, word)] if texts <= SHOWN else []
        values = np.array(found, float)
        numbers = int(np.isfinite(values).sum()) - truths
        return Column(values, numbers, truths, texts, strange, kept)


def _columns(
    lines: Iterator[list[str]], reader: Reader, keep: list[bool], first_line: int, source: str
) -> list[Column]:
    blocks: list[list[Column]] = [[] for _ in keep]
    first = 0
    while block := list(itertools.islice(lines, BLOCK)):
        for place, words in enumerate(block):
            if len(words) != len(keep):
                raise DataError(
                    f"{source}, line {first_line + first + place}: expected "
                    f"{many(len(keep), 'column')}, found {len(words)}."
                )
        for number, cells in enumerate(zip(*block, strict=True)):
            blocks[number].append(reader.column(cells, first, keep=keep[number]))
        first += len(block)
    return [_joined(parts, kept) for parts, kept in zip(blocks, keep, strict=True)]


def _joined(parts: list[Column], kept: bool) -> Column:
    return Column(
        np.concatenate([part.values for part in parts]) if parts else np.zeros(0),
        sum(part.numbers for part in parts),
        sum(part.truths for part in parts),
        sum(part.texts for part in parts),
        [cell for part in parts for cell in part.strange][:SHOWN],
        [word for part in parts for word in part.words or ()] if kept else None,
    )


# --- the form -------------------------------------------------------------------------------------


def _lines(text: str, separator: Separator) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=MARKS[separator])


def _separator(text: str, known: Dress, source: str) -> Separator:
    """Return what splits the first line, and all of the first lines alike, into numbers."""
    heads = {}
    for name in MARKS:
        try:
            head = list(itertools.islice(_lines(text, name), HEAD))
        except csv.Error:
            continue
        if head and len(head[0]) > 1:
            heads[name] = head
    alike = {name: head for name, head in heads.items() if len(set(map(len, head))) == 1}
    shares = {name: _numeric_share(head) for name, head in (alike or heads).items()}
    best: list[Separator] = [name for name in shares if shares[name] == max(shares.values())]
    if not alike and best:
        best = [max(heads, key=lambda name: len(heads[name][0]))]
    if known.separator in best:
        return known.separator
    if len(best) > 1:
        raise DataError(
            f"{source}: {' and '.join(best)} both split every line alike. Say "
            f"{' or '.join(f'dataset.separator={name}' for name in best)}."
        )
    return best[0] if best else "comma"


def _numeric_share(head: list[list[str]]) -> float:
    """Return the share of cells behind the first line that are numbers, whatever their decimal."""
    readers = (Reader("dot", thousands=True), Reader("comma", thousands=True))
    cells = [word for line in head[1:] or head for word in line]
    known = sum(
        any(reader.number(word) is not None for reader in readers) or word.strip().lower() in TRUTH
        for word in cells
    )
    return known / max(1, len(cells))


def _decimal(head: list[list[str]], known: Dress, source: str) -> Decimal:
    commas = [w.strip() for line in head for w in line if _COMMA.fullmatch(w.strip())]
    if not commas:
        return "dot"
    if all(_GROUPS["dot"].fullmatch(word) for word in commas):
        if known.decimal is not None:
            return known.decimal
        word = commas[0]
        raise DataError(
            f"{source}: {word} may be {word.replace(',', '.')} or {word.replace(',', '')}. Say "
            "dataset.decimal=comma or dataset.decimal=dot."
        )
    return "comma"


def _names(
    head: list[list[str]], reader: Reader, dress: Dress, known: Dress, source: str
) -> tuple[str, ...] | None:
    """Return the names in the first line, if it holds names; nameless ones as pandas has them."""
    first, body, header = head[0], head[1:], dress.header
    if header is None:
        header = _is_header(first, [line for line in body if len(line) == len(first)], reader)
    header = known.header if header is None else header
    if header is None:
        shown = ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")
        raise DataError(
            f"{source}: its first line, {shown}, are numbers that do not look like the others: say "
            "dataset.header=true if they are names, or dataset.header=false if they are data."
        )
    if not header:
        return None
    return tuple(word.strip() or f"Unnamed: {place}" for place, word in enumerate(first))


def _is_header(first: list[str], body: list[list[str]], reader: Reader) -> bool | None:
    """Return whether the first line holds names, None where only a person can know."""
    values = [_value(word, reader) for word in first]
    words = [value is None for value in values]
    numbers = [value is not None and not math.isnan(value) for value in values]
    below = np.array([[_value(word, reader) for word in line] for line in body], float)
    below = below.reshape(len(body), len(first))
    if any(words):
        over_numbers = np.isfinite(below).any(axis=0) & np.array(words)
        if not any(numbers) or over_numbers.any():
            return True
        marks = np.array([value for value in values if value is not None], float)
        beside = below[:, ~np.array(words)]
        return None if _look_like_names(marks, beside) else False
    counting = [float(place) for place in range(len(first))]
    if not first[0].strip() and len(first) > 2 and values[1:] == counting[:-1]:
        return True  # as pandas writes a table without names
    if len(first) > 2 and values in (counting, [1 + place for place in counting]):
        return None
    dots = reader.decimal == "comma" and any("." in word for word in first)
    if dots and not any("," in word for word in first):
        others = [word for line in body for word in line]
        if others and not any("." in word for word in others):
            return None
    return None if _look_like_names(np.array(values, float), below) else False


def _value(word: str, reader: Reader) -> float | None:
    return TRUTH.get(word.strip().lower(), reader.number(word))


def _look_like_names(first: np.ndarray, below: np.ndarray) -> bool:
    """Whether numbers are years or rising marks, of another size than those below them."""
    if len(first) < 2 or len(below) < 2 or np.isnan(first).any():
        return False
    steps = np.diff(first)
    whole = (first == np.floor(first)).all()
    years = whole and YEARS[0] <= first.min() and first.max() <= YEARS[1] and (steps != 0).all()
    if not years and not (len(first) > 2 and (steps > 0).all()):
        return False
    low, high = np.fmin.reduce(below), np.fmax.reduce(below)
    outside = (first < low) | (first > high)
    return bool(outside.mean() > 0.5 if years else outside.all())
