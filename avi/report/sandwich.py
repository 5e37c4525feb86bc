"""What bounds from both sides say of the evidence, in words and one table."""

import math
from collections.abc import Mapping
from typing import Any

from avi.report import render as page
from avi.report.files import RunFiles, Value, lookup, number, splits, text
from avi.report.wording import MISSING, between, count, plus_minus, signed


def section(run: RunFiles) -> str:
    """Return how far the evidence can be too low; nothing where it is exact or unknown."""
    kinds = {text(tree, "evidence", "kind") for tree in splits(run).values()}
    record = lookup(run.gap, "sandwich")
    if isinstance(record, Mapping):
        body = page.paragraph(_width(record)) + page.paragraph(_transfer(record)) + _table(record)
    elif "lower" in kinds:
        body = page.paragraph(
            "Not known: bounds from both sides were not tried on data drawn from the model. The "
            "full report of avi gap tries them wherever annealing gives the evidence."
        )
    else:
        return ""
    return f"<h3>How far can the evidence be too low?</h3>{body}"


def _width(record: Mapping[str, Any]) -> str:
    width = Value(number(record, "width"), number(record, "width_se"))
    return (
        f"The model drew {count(number(record, 'n'))} observations itself, each with its true z. "
        "From that z, annealing backwards gives an upper bound on log p(x), which real data do "
        f"not have. The two bounds are {plus_minus(width)} nats apart{_interval(record)}. On such "
        "data the evidence is too low by no more than that on average, and with it the "
        "approximation gap. Both bounds are noisy, so a width can come out below zero."
    )


def _interval(record: Mapping[str, Any]) -> str:
    ends = between(lookup(record, "width_interval"))
    return f" (95 % interval {ends})" if ends else ""


def _transfer(record: Mapping[str, Any]) -> str:
    ratio = number(record, "ess_ratio")
    if not math.isfinite(ratio):
        return ""
    alike = ", so what holds there may be carried over to the real rows."
    unlike = ": too unlike for what holds there to be carried over."
    return (
        "The effective number of chains on real rows is "
        f"{ratio:.2f} times that on simulated ones{alike if record.get('transfers') else unlike}"
    )


def _table(record: Mapping[str, Any]) -> str:
    history = record.get("history")
    listed = history if isinstance(history, list) else []
    entries = [one for one in listed if isinstance(one, Mapping)]
    rows = [
        [
            count(number(one, "num_temperatures")),
            plus_minus(Value(number(one, "width"), number(one, "width_se"))),
            between(lookup(one, "width_interval")) or MISSING,
            _added(number(one, "doubling")),
        ]
        for one in entries
    ]
    header = ["temperatures", "width, nats", "its 95 % interval", "the last doubling added"]
    return page.table(header, rows, ["", "number", "number", "number"]) if rows else ""


def _added(nats: float) -> str:
    return signed(f"{nats:+.3f}") if math.isfinite(nats) else MISSING
