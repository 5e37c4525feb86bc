"""The claims that amortized inference rests on, checked in words where the runs allow it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from avi.comparison.comparable import apart, comparable
from avi.comparison.pairs import FEWEST, paired_split, pairs
from avi.comparison.runs import Row
from avi.report.wording import count, milliseconds, plural, plus_minus
from avi.results.comparison import mean_and_deviation
from avi.results.record import Value, grouped

_WIDTH = re.compile(r"^inference\..*(width|hidden)")


def claims(rows: Sequence[Row]) -> list[str]:
    """Return one paragraph per claim; what these runs cannot show is said, with what would."""
    return [
        _parameters(rows),
        _new_observation(rows),
        _capacity(rows),
        *_unpaired(rows),
        *_caveats(rows),
    ]


def _parameters(rows: Sequence[Row]) -> str:
    sentences = []
    for mode, group in _by_mode(rows):
        sizes = {
            row.num_data: row.num_variational_parameters
            for row in group
            if math.isfinite(row.num_data) and math.isfinite(row.num_variational_parameters)
        }
        if not sizes:
            continue
        each = group[0].params_per_datapoint
        if group[0].amortized:
            sentences.append(_weights(mode, group))
        elif all(stored == 0 for stored in sizes.values()):
            sentences.append(f"{mode} keeps nothing per observation and searches anew each time")
        elif all(stored == rows_ * each for rows_, stored in sizes.items()):
            numbers = ", ".join(
                f"{count(stored)} numbers for N = {count(rows_)}"
                for rows_, stored in sorted(sizes.items())
            )
            sentences.append(
                f"{mode} keeps {numbers}: N × {count(each)}, so {count(each)} more with "
                "every further observation"
            )
    if not sentences:
        return "Parameters: run.json of these runs does not say how many they keep."
    return f"Parameters: {'; '.join(sentences)}."


def _weights(mode: str, group: Sequence[Row]) -> str:
    weights = sorted({row.num_variational_parameters for row in group})
    span = count(weights[0]) if len(weights) == 1 else f"{count(weights[0])}–{count(weights[-1])}"
    sizes = sorted({row.num_data for row in group if math.isfinite(row.num_data)})
    if len(sizes) > 1 and len(weights) == 1:
        where = " and ".join(count(size) for size in sizes)
        return f"{mode} keeps the same {span} weights at N = {where}"
    return f"{mode} keeps {span} weights, a number in which N does not appear"


def _new_observation(rows: Sequence[Row]) -> str:
    forward = _cheapest(row for row in rows if row.new_observation == "forward pass")
    sentences = []
    for mode, group in _by_mode(row for row in rows if row.new_observation):
        row = group[0]
        gradients = [each.new_gradient_evaluations for each in group]
        known = sorted({value for value in gradients if value > 0})
        price = [plural(value, "gradient evaluation") for value in known[-1:]]
        times = [
            each.new_milliseconds_one for each in group if math.isfinite(each.new_milliseconds_one)
        ]
        if times:
            price.append(milliseconds(min(times)))
        words = f"{mode} pays one {row.new_observation}"
        if price:
            words += f" ({', '.join(price)})"
        if times and forward and row.new_observation != "forward pass":
            ratio = min(times) / forward
            shown = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
            words += f", {shown} times the time of a forward pass"
        sentences.append(words)
    if not sentences:
        return "New observation: run.json of these runs does not say what one costs."
    return f"New observation: {'; '.join(sentences)}."


def _cheapest(rows: Iterable[Row]) -> float | None:
    times = [row.new_milliseconds_one for row in rows if row.new_milliseconds_one > 0]
    return min(times, default=None)


def _capacity(rows: Sequence[Row]) -> str:
    families = [family for family in _width_families(rows) if len(_widths(family)) > 1]
    if not families:
        return (
            "Gap against encoder width: not shown by these runs. It takes runs that differ in the "
            "encoder's width only, each with a gap report, on one frozen decoder "
            "(train.start=<run> train.freeze=theta)."
        )
    return " ".join(_capacity_of(family) for family in families)


def _capacity_of(family: Sequence[Row]) -> str:
    widths = _widths(family)
    gaps = [mean_and_deviation([row.gap for row in group]) for group in widths.values()]
    runs = [len(group) for group in widths.values()]
    shown = ", ".join(
        f"{width}: {_with_spread(value, group)}"
        for (width, group), value in zip(widths.items(), gaps, strict=True)
    )
    falls = all(after.mean < before.mean for before, after in zip(gaps, gaps[1:], strict=False))
    ends = f"from {gaps[0].mean:.2f} to {gaps[-1].mean:.2f} nats"
    verdict = f"It falls at every step, {ends}" if falls else f"It does not fall steadily: {ends}"
    spread = " (mean ± sd over runs)" if min(runs) > 1 else ""
    frozen = all(row.settings.get("train.freeze") == "theta" for row in family)
    return (
        f"Gap against encoder width{', on one frozen decoder' if frozen else ''}{spread}: "
        f"{shown}. {verdict}."
        + (
            ""
            if frozen
            else " Each encoder was trained with a decoder of its own, which adapts to it: the "
            "fair comparison freezes one (train.start=<run> train.freeze=theta)."
        )
    )


def _with_spread(value: Value, group: Sequence[Row]) -> str:
    return plus_minus(value if len(group) > 1 else group[0].gap_value)


def _width_families(rows: Sequence[Row]) -> list[list[Row]]:
    """Return groups of encoder runs that share every setting but the encoder's width."""

    def others(row: Row) -> str:
        rest = {key: value for key, value in row.settings.items() if not _WIDTH.match(key)}
        return repr(sorted(rest.items(), key=repr))

    measured = [row for row in rows if row.amortized and row.gap_value.known]
    return list(grouped(measured, others).values())


def _widths(family: Sequence[Row]) -> Mapping[str, list[Row]]:
    ordered = sorted(family, key=lambda row: row.num_variational_parameters)
    keys = [key for key in ordered[0].settings if _WIDTH.match(key)]
    differing = [key for key in keys if len({str(row.settings.get(key)) for row in family}) > 1]

    def width(row: Row) -> str:
        sizes = [row.settings.get(key) for key in differing or keys]
        return " ".join(map(str, sizes)).replace(" ", "")

    return grouped(ordered, width)


def _unpaired(rows: Sequence[Row]) -> list[str]:
    """Return what differences on the same rows would take, where there are none."""
    if len({row.label for row in rows}) < 2 or not comparable(rows) or pairs(rows):
        return []
    return [
        f"Differences on the same rows, with their intervals: not shown by these runs. It takes a "
        f"gap report of each with {FEWEST} {paired_split(rows)} rows in common: avi gap run=<run>."
    ]


def _caveats(rows: Sequence[Row]) -> list[str]:
    found, caveats = apart(rows), []
    if found.bounds:
        several = sum(name.startswith("ELBO") for name in found.bounds) > 1
        gaps = "nor can their gaps" if several else "their gaps (all ELBO) can"
        caveats.append(
            f"Caution: these runs report different bounds ({', '.join(found.bounds)}); "
            f"their bounds cannot be compared with one another, {gaps}."
        )
    if found.data:
        caveats.append(
            "Caution: these runs saw different data; nats per datapoint of one data set say "
            "nothing about another."
        )
    if found.likelihoods:
        caveats.append(
            f"Caution: these runs have different likelihoods ({', '.join(found.likelihoods)}): "
            "log p of a density and log p of a probability, or of data on different scales, cannot "
            "be compared."
        )
    unfinished = [row for row in rows if row.status not in ("done", "")]
    if unfinished:
        names = ", ".join(sorted({f"{row.path.name} ({row.status})" for row in unfinished}))
        caveats.append(f"Caution: not finished: {names}.")
    return caveats


def _by_mode(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    return list(grouped(rows, lambda row: row.inference or "this mode").items())
