"""The gap section of a page: every number with the side on which it errs."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from avi.report import figures, frontier, images, sandwich, validity
from avi.report import render as page
from avi.report.figures import Decomposition
from avi.report.files import RunFiles, Value, estimate, lookup, number, splits, text
from avi.report.style import svg
from avi.report.wording import (
    between,
    count,
    duration,
    gap_command,
    gap_name,
    gap_title,
    is_amortized,
    loser,
    objective_name,
    plural,
    plus_minus,
    reported_bound,
    signed,
    three_digits,
)

WORST_SHOWN = 10
GUIDE = "gap/how-to-read-a-gap-report.md"  # in the run folder, so that the page needs no network


def gap_value(run: RunFiles, split: str) -> Value:
    """Return the mean gap of `split` and its paired standard error."""
    return estimate(splits(run).get(split), "amortization_gap")


def decompositions(run: RunFiles) -> dict[str, Decomposition]:
    """Return what the stacked figure draws, per split."""
    return {
        name: Decomposition(
            num_points=number(tree, "n"),
            bound=estimate(tree, "bound"),
            gap=estimate(tree, "amortization_gap"),
            approximation_gap=estimate(tree, "approximation_gap"),
            evidence=estimate(tree, "evidence"),
            evidence_kind=text(tree, "evidence", "kind"),
            gap_interval=_ends(lookup(tree, "amortization_gap", "interval")),
            approximation_interval=_ends(lookup(tree, "approximation_gap", "interval")),
        )
        for name, tree in splits(run).items()
        if estimate(tree, "amortization_gap").known
    }


def point_gaps(run: RunFiles) -> dict[str, np.ndarray]:
    """Return the per-point gaps of gap/points.csv, per split."""
    names = dict.fromkeys(text(row, "split") for row in run.gap_points)
    return {
        name: np.array(
            [
                number(row, "amortization_gap")
                for row in run.gap_points
                if text(row, "split") == name
            ]
        )
        for name in names
        if name
    }


def section(run: RunFiles) -> str:
    """Return the whole section, or what is missing and the command that makes it."""
    if run.gap is None:
        return page.section(
            gap_name(run).capitalize(),
            page.paragraph(
                "This run has no gap report yet: how many nats inference loses is not known. "
                "This command measures it for the last checkpoint:"
            ),
            page.code(gap_command(run)),
        )
    points = point_gaps(run)
    return page.section(
        gap_title(run),
        page.paragraph(_what_it_is(run)),
        page.figure(
            svg(figures.decomposition(decompositions(run), gap_name(run)), "Decomposition of gaps")
        ),
        _numbers(run),
        page.paragraph(_generalisation(run)),
        page.paragraph(_unknown(run)),
        _spread(run, points),
        frontier.section(run),
        sandwich.section(run),
        _worst(run),
        "<h3>Can these numbers be believed?</h3>",
        page.checks(validity.entries(run)),
        page.banner(f"Left out: {sentence}" for sentence in _skipped(run)),
        page.paragraph(_provenance(run), "note"),
        page.link(GUIDE, "How to read these numbers, at leisure and with a worked example"),
    )


def _what_it_is(run: RunFiles) -> str:
    family = "the best member of the same family, found by optimising λ for each datapoint alone"
    words = f"What {loser(run)} loses to {family}, and what that family itself loses to log p(x). "
    if not is_amortized(run):
        words += (
            "No encoder is involved in this mode: what it leaves on the table is unfinished "
            "optimisation, hence the name optimisation gap. "
        )
    trained, reported = objective_name(run), reported_bound(run)
    if trained != reported:
        words += (
            f"The parameters were trained on the {trained} bound; all numbers here are in the "
            f"{reported}, so a part of the gap is the difference between the two aims. "
        )
    return words + "All numbers are nats per datapoint, means ± one standard error."


def _numbers(run: RunFiles) -> str:
    found = splits(run)
    kinds = {text(tree, "evidence", "kind") for tree in found.values()}
    rows = []
    for label, key, words in _quantities(run, kinds - {""}):
        values = [estimate(tree, key) for tree in found.values()]
        if any(value.known for value in values):
            rows.append([label, *map(plus_minus, values), words])
        if key == "amortization_gap":
            rows += [*_confidence(found), *_same_bound(found)]
        if key == "approximation_gap":
            rows += _approximation_interval(found)
    header = [
        "",
        *(f"{name} (n = {count(number(tree, 'n'))})" for name, tree in found.items()),
        "which side it errs on",
    ]
    return page.table(header, rows, ["", *["number"] * len(found), "words"])


def _confidence(found: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield the interval of the gap and what is guaranteed, where the report has them."""
    intervals = [between(lookup(tree, "amortization_gap", "interval")) for tree in found.values()]
    if any(intervals):
        yield [
            "— its 95 % interval",
            *intervals,
            "For the population that the points were drawn from, and this one trained model; "
            "wider to the right, because a few hard points carry the mean.",
        ]
    least = [number(tree, "amortization_gap", "guaranteed") for tree in found.values()]
    if any(map(math.isfinite, least)):
        yield [
            "— at least",
            *map(three_digits, least),
            "With 95 % confidence, one-sided, and with no assumption about convergence.",
        ]


def _approximation_interval(found: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    intervals = [between(lookup(tree, "approximation_gap", "interval")) for tree in found.values()]
    if any(intervals):
        yield [
            "— its 95 % interval",
            *intervals,
            "Of the sample of points alone: it does not contain what the evidence lacks.",
        ]


def _same_bound(found: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield the gap in the bound that was trained, where that is not the ELBO."""
    names = {text(tree, "same_bound", "name") for tree in found.values()} - {""}
    for name in sorted(names):
        yield [
            f"{name}, in the bound that was trained",
            *(plus_minus(estimate(tree, "same_bound")) for tree in found.values()),
            "A lower bound on the loss in that bound, and not certified: the certificate is the "
            "ELBO's. Not a part of the decomposition.",
        ]


def _ends(interval: Any) -> tuple[float, float] | None:
    if not isinstance(interval, list) or len(interval) != 2:
        return None
    low, high = (number({"end": end}, "end") for end in interval)
    return (low, high) if math.isfinite(high - low) else None


def _generalisation(run: RunFiles) -> str:
    lost = estimate(run.gap, "generalisation_gap")
    if not lost.known:
        return ""
    train, test = (number(run.gap, "generalisation_gap", "n", name) for name in ("train", "test"))
    return (
        f"The encoder's generalisation gap is {plus_minus(lost)} nats: so much longer is the "
        f"amortization gap of {count(test)} test rows than that of {count(train)} training rows. "
        "What λ* lacks on either side cancels but for its difference."
    )


def _unknown(run: RunFiles) -> str:
    if any(estimate(tree, "evidence").known for tree in splits(run).values()):
        return ""
    return (
        "log p(x) was not estimated, so what the family itself loses is not known. With more "
        f"time: {gap_command(run)}"
    )


def _quantities(run: RunFiles, kinds: set[str]) -> Iterator[tuple[str, str, str]]:
    name = gap_name(run)
    yield (
        "ELBO at the mode's λ",
        "bound",
        "An unbiased estimate of a lower bound on log p(x); only the standard error is open.",
    )
    yield (
        "ELBO at λ*",
        "bound_star",
        "Too low, never too high, for the family's best: any λ found is at most the best one. "
        "Scored on draws that did not choose it.",
    )
    yield (
        name.capitalize(),
        "amortization_gap",
        "A lower bound, whether or not λ* converged: a better λ* can only widen it. "
        "Both ends share their draws, so the error is that of a paired difference.",
    )
    yield ("log p(x), the evidence", "evidence", _evidence_side(kinds))
    yield (
        "Importance-weighted bound",
        "importance_bound",
        "A lower bound on log p(x), too loose to be called evidence: k̂ of its weights warns.",
    )
    yield ("Approximation gap", "approximation_gap", _approximation_side(kinds, name))
    yield ("Inference gap, their sum", "inference_gap", _inference_side(kinds))
    yield (
        "Certificate",
        "certificate",
        "An estimate of what λ* still lacks (Newton decrement): nats that belong to the "
        f"{name} but stand in the approximation gap. It sees the top it climbs, not another one.",
    )


def _evidence_side(kinds: set[str]) -> str:
    if kinds == {"exact"}:
        return "Exact: no error but the sample of datapoints."
    if kinds == {"upper"}:
        return "A stochastic upper bound: too high on average."
    return "A stochastic lower bound: too low on average; the true value is this or more."


def _approximation_side(kinds: set[str], name: str) -> str:
    if kinds == {"exact"}:
        return f"Too high by what λ* lacks: an unconverged λ* moves nats here from the {name}."
    if kinds == {"upper"}:
        return "Too high twice: by the upper bound on log p(x) and by what λ* lacks."
    return "Too low where log p(x) is under-estimated, too high by what λ* lacks: no bound."


def _inference_side(kinds: set[str]) -> str:
    if kinds == {"exact"}:
        return "Unbiased: λ* cancels out of the sum, and the evidence is exact."
    if kinds == {"upper"}:
        return "An upper bound: λ* cancels out of the sum, the evidence is too high."
    return "A lower bound: λ* cancels out of the sum, the evidence is too low."


def _spread(run: RunFiles, points: Mapping[str, np.ndarray]) -> str:
    if not any(np.isfinite(values).any() for values in points.values()):
        return ""
    sentences = []
    for name, tree in splits(run).items():
        gap = [number(tree, "amortization_gap", key) for key in ("median", "p95", "max")]
        if all(map(math.isfinite, gap)):
            sentences.append(
                f"{name.capitalize()}: half of the points lose less than {gap[0]:.2g} nats, "
                f"one in twenty more than {gap[1]:.2g}, the worst {gap[2]:.2g}."
            )
    drawing = svg(figures.histogram(points, gap_name(run)), "Distribution of the per-point gaps")
    return page.figure(drawing, signed(" ".join(sentences)))


def _worst(run: RunFiles) -> str:
    ranked = sorted(
        (row for row in run.gap_points if math.isfinite(number(row, "amortization_gap"))),
        key=lambda row: -number(row, "amortization_gap"),
    )[:WORST_SHOWN]
    if not ranked:
        return ""
    pictures = _pictures(run)
    shown = [row for row in ranked if number(row, "row") in pictures]
    heading = "<h3>Worst-inferred observations</h3>"
    if shown:
        cells = "".join(
            page.figure(
                page.image(pictures[number(row, "row")], f"row {text(row, 'row')}"),
                _tile_words(row),
            )
            for row in shown
        )
        return f'{heading}<div class="tiles">{cells}</div>'
    rows = [
        [text(row, "split"), text(row, "row"), *_three(row), text(row, "flags")] for row in ranked
    ]
    header = ["split", "row", gap_name(run), "ELBO", "ELBO at λ*", "flags"]
    kept = len(header) if any(row[-1] for row in rows) else len(header) - 1
    kinds = ["", "number", "number", "number", "number", ""]
    return heading + page.table(header[:kept], [row[:kept] for row in rows], kinds[:kept])


def _tile_words(row: Mapping[str, Any]) -> str:
    gap, bound = number(row, "amortization_gap"), number(row, "bound")
    words = f"gap {three_digits(gap)}, " + signed(f"ELBO {bound:.1f}")
    return f"{words} ({text(row, 'split')} row {text(row, 'row')})"


def _three(row: Mapping[str, Any]) -> list[str]:
    bounds = [number(row, key) for key in ("bound", "bound_star")]
    gap = number(row, "amortization_gap")
    return [three_digits(gap), *(signed(f"{value:.2f}") for value in bounds)]


def _pictures(run: RunFiles) -> dict[float, bytes]:
    """Return the images, by row id, of the observations that gap/worst.npz or snapshot.npz hold."""
    found: dict[float, bytes] = {}
    shape = images.shape_of(run.snapshot, run.fact("image_shape"))
    for archive in (run.snapshot, run.worst):
        rows, stack = archive.get("input_rows"), images.stack(archive.get("inputs"), shape)
        if rows is None or stack is None or rows.shape != stack.shape[:1]:
            continue
        low, high = float(stack.min()), float(stack.max())
        for row, one in zip(rows, stack, strict=True):
            found[float(row)] = images.tile(one, low=low, high=high)
    return found


def _skipped(run: RunFiles) -> list[str]:
    skipped = lookup(run.gap, "skipped")
    return [str(sentence) for sentence in skipped] if isinstance(skipped, list) else []


def _doublings(run: RunFiles) -> Iterator[str]:
    """Yield how many points were looked at for the sake of a narrow interval."""
    target, doublings = number(run.gap, "half_width"), number(run.gap, "doublings")
    if math.isfinite(target) and math.isfinite(doublings):
        reached = ", ".join(
            f"{count(number(tree, 'n'))} {name}" for name, tree in splits(run).items()
        )
        yield (
            f"points were added at doublings only, until half of the gap's 95 % interval was "
            f"{target:g} nats, all rows were in or the time was over: "
            f"{plural(doublings, 'doubling')}, {reached} rows"
        )


def _provenance(run: RunFiles) -> str:
    parts = []
    draws, tolerance = number(run.gap, "num_draws"), number(run.gap, "tolerance")
    if math.isfinite(draws):
        parts.append(f"{count(draws)} fresh draws per point, shared by both ends of each gap")
    if math.isfinite(tolerance):
        parts.append(f"converged means a certificate below {tolerance:g} nats")
    parts += _doublings(run)
    seconds = number(run.gap, "seconds")
    if math.isfinite(seconds):
        parts.append(f"made in {duration(seconds)}")
    first = "; ".join(parts)
    return (
        f"{first[:1].upper()}{first[1:]}{'. ' if first else ''}One training seed: how much these "
        "numbers vary from one training to the next needs several. Every point is in "
        "gap/points.csv."
    )
