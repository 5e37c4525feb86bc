"""A comparison as a table for the terminal, for Markdown and for programs."""

import math
import textwrap
from collections.abc import Sequence

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
    signed,
)
from avi.results.comparison import Pair, held_out_split, summaries
from avi.results.record import Interval
from avi.settings import SPLITS, Split

WIDTH = 80
Cells = Sequence[Sequence[str]]


def result_header(rows: Sequence[Row]) -> list[str]:
    """Return the column names of `result_cells`."""
    bounds = [f"{name} {bound_name(rows)}" for name in SPLITS if _shown(rows, name)]
    return ["run", "seed", *bounds, "gap", "evidence"]


def result_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return what every run reached, in words."""
    return [
        [
            row.label,
            count(row.seed),
            *(plus_minus(row.bound(name)) for name in SPLITS if _shown(rows, name)),
            _gap(row),
            {"lower": "≥ ", "upper": "≤ "}.get(row.evidence_kind, "")
            + plus_minus(row.evidence_value),
        ]
        for row in rows
    ]


COST_HEADER = [
    "run", "seed", "parameters φ", "N", "new x: gradients", "new x: time", "epochs", "time",
    "gradients",
]  # fmt: skip


def cost_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return what every run keeps and costs, in words, under `COST_HEADER`."""
    return [
        [
            row.label,
            count(row.seed),
            count(row.num_variational_parameters),
            count(row.num_data),
            count(row.new_gradient_evaluations),
            milliseconds(row.new_milliseconds_one),
            f"{row.epochs:g}" if math.isfinite(row.epochs) else MISSING,
            duration(row.seconds),
            count(row.gradient_evaluations),
        ]
        for row in rows
    ]


PARTS_HEADER = ["run", "seed", "reconstruction", "KL", "latents in use"]


def parts_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return what the last held-out bound of every run is made of, none where none is known."""
    if not any(math.isfinite(row.kl) for row in rows):
        return []
    return [
        [
            row.label,
            count(row.seed),
            digits(row.reconstruction, ".2f"),
            digits(row.kl, ".2f"),
            count(row.active),
        ]
        for row in rows
    ]


def bound_name(rows: Sequence[Row]) -> str:
    """Return the name of the bound where all runs share it."""
    names = {row.bound_name for row in rows}
    return names.pop() if len(names) == 1 else "bound"


def _shown(rows: Sequence[Row], name: Split) -> bool:
    return any(row.bound(name).known for row in rows)


def _gap(row: Row) -> str:
    words = plus_minus(row.gap_value)
    return words if row.gap_split in ("test", "") else f"{words} ({row.gap_split})"


def seed_header(rows: Sequence[Row]) -> list[str]:
    """Return the column names of `seed_cells`."""
    return ["mean ± sd over runs", "runs", f"{held_out_split(rows)} {bound_name(rows)}", "gap"]


def seed_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return every configuration that ran several times, as words."""
    return [
        [each.label, str(each.runs), plus_minus(each.bound), plus_minus(each.gap)]
        for each in summaries(rows)
    ]


def pair_header(pairs: Sequence[Pair]) -> list[str]:
    """Return the column names of `pair_cells`, empty where there are no pairs."""
    if not pairs:
        return []
    first = pairs[0]
    return [
        f"{first.first} against",
        f"{first.split} ELBO higher by",
        "gap smaller by",
        "rows",
        "seeds",
    ]


def pair_cells(pairs: Sequence[Pair]) -> list[list[str]]:
    """Return what the first configuration has over each other one, in words."""
    return [
        [
            pair.other,
            _with_interval(pair.bound, pair.bound_interval),
            _with_interval(pair.gap, pair.gap_interval),
            count(pair.rows),
            f"{count(pair.seeds_first)}, {count(pair.seeds_other)}",
        ]
        for pair in pairs
    ]


def _with_interval(value: float, interval: Interval) -> str:
    low, high = interval or (math.nan, math.nan)
    return signed(f"{value:.2f} [{low:.2f}, {high:.2f}]")


def terminal(
    rows: Sequence[Row], paragraphs: Sequence[str] = (), pairs: Sequence[Pair] = ()
) -> str:
    """Return the table in at most 80 columns, then what the runs say, as plain text."""
    split = held_out_split(rows)
    body = [
        [
            _seeded(row, rows),
            plus_minus(row.bound(split)),
            _gap(row),
            _short(row.num_variational_parameters),
            _short(row.new_gradient_evaluations),
            milliseconds(row.new_milliseconds_one),
        ]
        for row in rows
    ]
    names = ["run", f"{split} {bound_name(rows)}", "gap", "params", "grads/x", "time/x"]
    parts = [_aligned(names, body)]
    if pairs:
        parts.append(_aligned(pair_header(pairs), pair_cells(pairs)))
    several = seed_cells(rows)
    if several:
        parts.append(_aligned(seed_header(rows), several))
    parts.append(
        textwrap.fill(
            "Bounds in nats per datapoint (higher is better), ± one standard error. "
            f"gap: {gap_names(rows)}. params: variational parameters kept. "
            "grads/x, time/x: cost of one new observation."
            + (" Against: paired by row, [95 % interval], seeds of both." if pairs else ""),
            WIDTH,
        )
    )
    parts += [textwrap.fill(words, WIDTH, subsequent_indent="  ") for words in paragraphs]
    return "\n\n".join(parts).replace(MINUS, "-").replace(MISSING, "-") + "\n"


def gap_names(rows: Sequence[Row]) -> str:
    """Return what the column `gap` holds: each mode's own name for what it loses."""
    names = list(dict.fromkeys(row.gap_name for row in rows))
    if len(names) == 1:
        return names[0]
    return "amortization gap of encoders, optimisation gap of the other modes"


def _seeded(row: Row, rows: Sequence[Row]) -> str:
    alone = sum(other.label == row.label for other in rows) == 1
    return row.label if alone else f"{row.label}, seed {count(row.seed)}"


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return count(value)


def _aligned(names: Sequence[str], body: Cells) -> str:
    widths = [max(len(row[column]) for row in [names, *body]) for column in range(1, len(names))]
    room = WIDTH - sum(widths) - 2 * len(widths)
    longest = max(len(row[0]) for row in [names, *body])
    first = max(8, min(room, longest))
    lines = []
    for row in [names, *body]:
        label, *more = textwrap.wrap(printable(row[0]), first, subsequent_indent="  ") or [""]
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True))
        lines += [(label.ljust(first) + numbers).rstrip(), *more]
    rule = "-" * min(WIDTH, first + sum(widths) + 2 * len(widths))
    return "\n".join([lines[0], rule, *lines[1:]])
