"""The tables of a comparison, in words: for the page, for Markdown and for the terminal."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from avi.comparison.runs import Row
from avi.report.wording import (
    MINUS,
    MISSING,
    count,
    digits,
    duration,
    milliseconds,
    plus_minus,
    printable,
    side,
    signed,
)
from avi.results.comparison import Pair, held_out_split, summaries
from avi.results.record import Interval
from avi.settings import SPLITS, Split

WIDTH = 80
T = TypeVar("T")


class Table(NamedTuple):
    """Cells as words under their header: a column of names, then numbers."""

    header: Sequence[str]
    cells: Sequence[Sequence[str]]

    @property
    def kinds(self) -> list[str]:
        """The class of each column."""
        return ["", *["number"] * (len(self.header) - 1)]


def _table(lines: Sequence[T], columns: Mapping[str, Callable[[T], str]]) -> Table:
    """Return a table of what each column says of each line."""
    return Table(list(columns), [[say(line) for say in columns.values()] for line in lines])


def _of_runs(rows: Sequence[Row], columns: Mapping[str, Callable[[Row], str]]) -> Table:
    named = {"run": lambda row: row.label, "seed": lambda row: count(row.seed)}
    return _table(rows, {**named, **columns})


def reached(rows: Sequence[Row]) -> Table:
    """Return what every run reached."""
    bounds = {
        f"{split} {bound_name(rows)}": partial(_bound, split)
        for split in SPLITS
        if any(row.bound(split).known for row in rows)
    }
    return _of_runs(rows, {**bounds, "gap": _gap, "evidence": _evidence})


def costs(rows: Sequence[Row]) -> Table:
    """Return what every run keeps and costs."""
    return _of_runs(
        rows,
        {
            "parameters φ": lambda row: count(row.num_variational_parameters),
            "N": lambda row: count(row.num_data),
            "new x: gradients": lambda row: count(row.new_gradient_evaluations),
            "new x: time": lambda row: milliseconds(row.new_milliseconds_one),
            "epochs": lambda row: digits(row.epochs, "g"),
            "time": lambda row: duration(row.seconds),
            "gradients": lambda row: count(row.gradient_evaluations),
        },
    )


def parts(rows: Sequence[Row]) -> Table:
    """Return what the last held-out bound of every run is made of; empty where none is known."""
    return _of_runs(
        rows if any(math.isfinite(row.kl) for row in rows) else [],
        {
            "reconstruction": lambda row: digits(row.reconstruction, ".2f"),
            "KL": lambda row: digits(row.kl, ".2f"),
            "latents in use": lambda row: count(row.active),
        },
    )


def over_seeds(rows: Sequence[Row]) -> Table:
    """Return every configuration that ran several times."""
    return _table(
        summaries(rows),
        {
            "mean ± sd over runs": lambda each: each.label,
            "runs": lambda each: str(each.runs),
            f"{held_out_split(rows)} {bound_name(rows)}": lambda each: plus_minus(each.bound),
            "gap": lambda each: plus_minus(each.gap),
        },
    )


def paired(pairs: Sequence[Pair]) -> Table:
    """Return what the first configuration has over each other one."""
    if not pairs:
        return Table([], [])
    return _table(
        pairs,
        {
            f"{pairs[0].first} against": lambda pair: pair.other,
            f"{pairs[0].split} ELBO higher by": lambda pair: _within(
                pair.bound, pair.bound_interval
            ),
            "gap smaller by": lambda pair: _within(pair.gap, pair.gap_interval),
            "rows": lambda pair: count(pair.rows),
            "seeds": lambda pair: f"{count(pair.seeds_first)}, {count(pair.seeds_other)}",
        },
    )


def _within(value: float, interval: Interval) -> str:
    low, high = interval or (math.nan, math.nan)
    return signed(f"{value:.2f} [{low:.2f}, {high:.2f}]")


def bound_name(rows: Sequence[Row]) -> str:
    """Return the name of the bound where all runs share it."""
    names = {row.bound_name for row in rows}
    return names.pop() if len(names) == 1 else "bound"


def gap_names(rows: Sequence[Row]) -> str:
    """Return what the column `gap` holds: each mode's own name for what it loses."""
    names = list(dict.fromkeys(row.gap_name for row in rows))
    if len(names) == 1:
        return names[0]
    return "amortization gap of encoders, optimisation gap of the other modes"


def _bound(split: Split, row: Row) -> str:
    return plus_minus(row.bound(split))


def _evidence(row: Row) -> str:
    return side(row.evidence_kind) + plus_minus(row.evidence_value)


def _gap(row: Row) -> str:
    words = plus_minus(row.gap_value)
    return words if row.gap_split in ("test", "") else f"{words} ({row.gap_split})"


def terminal(
    rows: Sequence[Row], paragraphs: Sequence[str] = (), pairs: Sequence[Pair] = ()
) -> str:
    """Return the table in at most 80 columns, then what the runs say, as plain text."""
    split = held_out_split(rows)
    shown = _table(
        rows,
        {
            "run": lambda row: _seeded(row, rows),
            f"{split} {bound_name(rows)}": partial(_bound, split),
            "gap": _gap,
            "params": lambda row: _short(row.num_variational_parameters),
            "grads/x": lambda row: _short(row.new_gradient_evaluations),
            "time/x": lambda row: milliseconds(row.new_milliseconds_one),
        },
    )
    tables = [shown, *(table for table in (paired(pairs), over_seeds(rows)) if table.cells)]
    legend = (
        "Bounds in nats per datapoint (higher is better), ± one standard error. "
        f"gap: {gap_names(rows)}. params: variational parameters kept. "
        "grads/x, time/x: cost of one new observation."
        + (" Against: paired by row, [95 % interval], seeds of both." if pairs else "")
    )
    said = [textwrap.fill(words, WIDTH, subsequent_indent="  ") for words in paragraphs]
    blocks = [*map(_aligned, tables), textwrap.fill(legend, WIDTH), *said]
    return "\n\n".join(blocks).replace(MINUS, "-").replace(MISSING, "-") + "\n"


def _seeded(row: Row, rows: Sequence[Row]) -> str:
    alone = sum(other.label == row.label for other in rows) == 1
    return row.label if alone else f"{row.label}, seed {count(row.seed)}"


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return count(value)


def _aligned(table: Table) -> str:
    lines = [table.header, *table.cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    room = WIDTH - sum(widths[1:]) - 2 * len(widths[1:])
    first = max(8, min(room, widths[0]))
    shown = []
    for line in lines:
        label, *more = textwrap.wrap(printable(line[0]), first, subsequent_indent="  ") or [""]
        numbers = "".join(
            f"  {cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)
        )
        shown += [(label.ljust(first) + numbers).rstrip(), *more]
    rule = "-" * min(WIDTH, first + WIDTH - room)
    return "\n".join([shown[0], rule, *shown[1:]])
