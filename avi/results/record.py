"""Records as plain data and back: the one place that knows what an unknown number looks like.

A reader never refuses: what is missing, damaged or of another kind is unknown, field by field. That
is NaN for a number, "" for words, None for a flag, and nothing for a list. Hence no library, which
would refuse the whole.
"""

import csv
import io
import math
import numbers
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import (
    Annotated,
    Any,
    BinaryIO,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

NAN = float("nan")
T = TypeVar("T")
K = TypeVar("K")

Interval = tuple[float, float] | None  # both ends, None where it is not known
Count = Annotated[float, "count"]  # a whole number, NaN where unknown


class Value(NamedTuple):
    """A number in nats per datapoint and its standard error, NaN where unknown."""

    mean: float
    se: float = NAN

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return math.isfinite(self.mean)

    def exceeds(self, limit: float) -> bool:
        """Whether it may be above `limit`, two standard errors considered."""
        return self.mean + 2 * (self.se if math.isfinite(self.se) else 0.0) > limit


UNKNOWN = Value(NAN)


def grouped(records: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return the records of every key, both in the order in which they are met."""
    found: dict[K, list[T]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return found


def shared(kind: type[T], record: Any) -> T:
    """Return the record of `kind` that a larger one holds: its fields and no others."""
    return kind(**{field.name: getattr(record, field.name) for field in fields(kind)})  # type: ignore[arg-type]


def number(found: Any) -> float:
    """Return what was read as a number, NaN where it is none."""
    try:
        return float(found) if isinstance(found, int | float | str) else NAN
    except (ValueError, OverflowError):
        return NAN


def whole(value: float) -> float:
    """Return a whole number as an integer, which is written without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain(value: Any) -> Any:
    """Return a record as JSON data: null stands for what is not known or not finite."""
    if is_dataclass(value) and not isinstance(value, type):
        if not getattr(value, "known", True):
            return None
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return float(value) if math.isfinite(value) else None
    return value


def restored(kind: type[T], tree: Any) -> T:
    """Return the record of `kind` that JSON data or CSV cells hold, unknown where they do not."""
    given = tree if isinstance(tree, Mapping) else {}
    hints: Mapping[str, Any] = _hints(kind)  # type: ignore[arg-type]
    return kind(**{name: _value(hint, given.get(name)) for name, hint in hints.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def _value(hint: Any, found: Any) -> Any:
    if hint is float:
        return number(found)
    if hint == Count:
        return _counted(found)
    if hint is int:  # of which none is unknown: whoever reads it drops the record
        counted = _counted(found)
        return counted if isinstance(counted, int) else None
    if hint is str or get_origin(hint) is Literal:
        return found if isinstance(found, str) else ""
    if hint in (bool, bool | None):
        return _FLAGS.get(found) if isinstance(found, str | bool) else None
    if hint == Interval:
        return _interval(found)
    if _is_named_tuple(hint):
        kinds = get_type_hints(hint).values()
        return hint(*(_value(kind, each) for kind, each in zip(kinds, found, strict=True)))
    if get_origin(hint) is tuple:
        return _listed(get_args(hint)[0], found)
    if get_origin(hint) in (Mapping, dict):
        each = get_args(hint)[1]
        given = found if isinstance(found, Mapping) else {}
        kept = {str(key): value for key, value in given.items() if _fits(each, value)}
        return {key: _value(each, value) for key, value in kept.items()}
    if get_origin(hint) in (Union, types.UnionType):  # a record or None
        kind = get_args(hint)[0]
        return restored(kind, found) if isinstance(found, Mapping) else None
    return restored(hint, found) if isinstance(hint, type) and is_dataclass(hint) else found


def _counted(found: Any) -> float:
    value = number(found)
    return found if type(found) is int and math.isfinite(value) else whole(value)


_FLAGS = {True: True, False: False, "true": True, "false": False}


def _listed(kind: Any, found: Any) -> tuple[Any, ...]:
    given = found if isinstance(found, list) else []
    return tuple(_value(kind, each) for each in given if _fits(kind, each))


def _fits(kind: Any, found: Any) -> bool:
    if _is_named_tuple(kind):
        return isinstance(found, list) and len(found) == len(kind._fields)
    if is_dataclass(kind) or get_origin(kind) is Mapping:
        return isinstance(found, Mapping)
    return isinstance(found, str) if kind is str else found is not None


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _interval(found: Any) -> Interval:
    if not isinstance(found, list) or len(found) != 2:
        return None
    low, high = map(number, found)
    return (low, high) if math.isfinite(high - low) else None


def table(kind: type, records: Iterable[Any]) -> str:
    """Return flat records as CSV, a column for each field; what is not known is empty."""
    names = list(_hints(kind))
    cells = ([cell(getattr(record, name)) for name in names] for record in records)
    return lines_of([names, *cells])


def lines_of(rows: Iterable[Iterable[object]]) -> str:
    """Return rows of cells as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_lines(file: BinaryIO, rows: Iterable[Iterable[object]]) -> None:
    """Write rows of cells as CSV, of which only a part is in memory."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    text.detach()


def cell(value: Any) -> str:
    """Return one value as CSV has it, empty where it is not known."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return "" if value is None else str(value)
