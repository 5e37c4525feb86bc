"""What a reader needs in order to believe a gap report, as ticked sentences."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from avi.report.files import RunFiles, estimate, lookup, number, splits, text
from avi.report.wording import count, plural, plus_minus

Entry = tuple[bool | None, str]  # whether it holds, None where that is open, and the sentence


def entries(run: RunFiles) -> Iterator[Entry]:
    """Yield every check of the report."""
    for name, tree in splits(run).items():
        yield from _split(name, tree)
    audited, improved = number(run.gap, "audit", "points"), number(run.gap, "audit", "improved")
    if audited > 0:
        yield (
            improved == 0,
            f"Other starts led higher for {count(improved)} of {plural(audited, 'point')} that "
            "were tried from several" + (f": {_power(audited)}." if improved == 0 else "."),
        )
    yield from _starts(run)
    yield from _again(run)
    yield from _flags(run)


def _power(tried: float) -> str:
    """Return what a sample without a single gain says of all (the exact binomial limit)."""
    share = 1 - 0.05 ** (1 / tried)
    return f"with 95 % confidence, fewer than {share:.0%} of all would gain"


def _split(name: str, tree: Mapping[str, Any]) -> Iterator[Entry]:
    points, converged = number(tree, "n"), number(tree, "converged")
    if math.isfinite(points) and math.isfinite(converged):
        yield (
            converged >= points,
            f"{name}: λ* converged for {count(converged)} of {plural(points, 'point')}"
            + (
                "."
                if converged >= points
                else "; for the others the gap may be larger than reported."
            ),
        )
    endings = lookup(tree, "endings")
    for one in endings if isinstance(endings, list) else []:
        if (ended := number(one, "n")) > 0:
            yield None, f"{name}: {plural(ended, 'point')} not certified: {text(one, 'sentence')}"
    lost = number(tree, "not_finite")
    if lost > 0:
        yield (
            False,
            f"{name}: the bound of {plural(lost, 'point')} is not a finite number: there are no "
            "means; gap/points.csv flags them.",
        )
    negative = number(tree, "negative")
    if negative > 0:
        yield (
            None,
            f"{name}: the gap of {plural(negative, 'point')} came out below zero; "
            "a few near zero are noise of the draws.",
        )


def _starts(run: RunFiles) -> Iterator[Entry]:
    """Yield how often each other start ended elsewhere than the mode's own λ."""
    found = lookup(run.gap, "audit", "starts")
    ends = [
        f"{share:.0%} from the {START_WORDS.get(text(one, 'start'), 'other')} start "
        f"({count(number(one, 'higher'))} higher, {count(number(one, 'lower'))} lower)"
        for one in (found if isinstance(found, list) else [])
        if math.isfinite(share := number(one, "differ"))
    ]
    if ends:
        yield (
            None,
            "Of these, so many ended more than 0.01 nats from where the mode's own λ led: "
            f"{', '.join(ends)}.",
        )


def _again(run: RunFiles) -> Iterator[Entry]:
    """Yield what a second search from λ* gained."""
    again = estimate(run.gap, "audit", "doubling")
    if again.known:
        points = plural(number(run.gap, "audit", "doubling", "n"), "point")
        yield (
            lookup(run.gap, "audit", "doubling", "ok") is True,
            f"As much of a search again, from λ*, changed the bound of {points} by "
            f"{plus_minus(again)} nats in the mean.",
        )


def _flags(run: RunFiles) -> Iterator[Entry]:
    """Yield the flags of the report's own validity block."""
    for key, good, bad in _FLAGS:
        flag = lookup(run.gap, "validity", key)
        if isinstance(flag, bool):
            # The one flag whose name states the trouble instead of the virtue.
            holds = not flag if key == "negative_gap" else flag
            yield holds, good if holds else bad
        elif key == "khat_ok":
            yield None, "k̂ is not defined for this family, or there were too few draws for it."


START_WORDS = {"family": "family's", "laplace": "Laplace", "random": "random"}
_FLAGS = (
    (
        "khat_ok",
        "The weights p(x, z) / q(z; λ*) have a light tail (k̂): q at λ* is close to the posterior.",
        "k̂ warns: q at λ* is too far from the posterior to be a proposal, so that importance "
        "weights from it cannot be trusted; annealing does not rest on them.",
    ),
    (
        "evidence_se_ok",
        "The evidence is known to within the tolerance.",
        "The evidence is not known to within the tolerance: its own error is larger, and the "
        "approximation gap with it.",
    ),
    (
        "complete",
        "No row and no evidence was dropped for lack of time.",
        "Time ran out: rows or their evidence were dropped, see what was left out.",
    ),
    (
        "n_ok",
        "There are enough datapoints for a standard error that means something.",
        "Too few datapoints for an interval: gaps are skewed, fewer than 30 points say little.",
    ),
    (
        "negative_gap",
        "No mean gap is below zero beyond three standard errors, no point beyond chance (1e-6).",
        "A mean gap is below zero beyond three standard errors, or a point beyond chance (1e-6): "
        "the report contradicts itself.",
    ),
    (
        "sandwich_ok",
        "Bounds from both sides agree on simulated data.",
        "Bounds from both sides disagree on simulated data: the evidence is not settled.",
    ),
)
