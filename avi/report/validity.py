"""What a reader needs in order to believe a gap report, as ticked sentences."""

import math
from collections.abc import Iterator

from avi.report.wording import count, plural, plus_minus
from avi.results.flags import SENTENCES, Validity
from avi.results.gap import AuditRecord, SplitSummary
from avi.results.run import Run

Entry = tuple[bool | None, str]  # whether it holds, None where that is open, and the sentence


def entries(run: Run) -> Iterator[Entry]:
    """Yield every check of the report."""
    if run.gap is None:
        return
    for name, one in run.gap.splits.items():
        yield from _split(name, one)
    yield from audited(run.gap.audit)
    yield from _starts(run.gap.audit)
    yield from _again(run.gap.audit)
    yield from _flags(run.gap.validity)


def audited(audit: AuditRecord) -> Iterator[Entry]:
    """Yield how many points another start led higher, and by how much."""
    if not audit.points > 0:
        return
    words = (
        f"Other starts led higher for {count(audit.improved)} of {plural(audit.points, 'point')} "
        "that were tried from several"
    )
    if audit.improved == 0:
        share = f"fewer than {audit.may_gain:.0%} of all would gain"
        yield True, f"{words}: with 95 % confidence, {share}."
    else:
        most = f", by up to {audit.largest:.2g} nats" if math.isfinite(audit.largest) else ""
        then = "; all points were then searched from all of them" if audit.all_points else ""
        yield False, f"{words}{most}{then}."
    if audit.second_opinions > 0:
        yield (
            None,
            f"A second opinion on {plural(audit.second_opinions, 'point')}, from elsewhere, "
            f"led to a better hill for {count(audit.second_gains)}.",
        )
    won = [
        f"{START_WORDS.get(name, name)} {count(n)}" for name, n in audit.winners.items() if n > 0
    ]
    if len(won) > 1:
        yield None, f"λ* of so many points was found from each start: {', '.join(won)}."


def _split(name: str, one: SplitSummary) -> Iterator[Entry]:
    if math.isfinite(one.n) and math.isfinite(one.converged):
        held = one.converged >= one.n
        words = f"{name}: λ* converged for {count(one.converged)} of {plural(one.n, 'point')}"
        if one.proved > 0:
            words += f", proved for {count(one.proved)} by strong concavity or exactly"
        if one.doubled > 0:
            words += f", for {count(one.doubled)} because twice the search gained next to nothing"
        rest = "." if held else "; for the others the gap may be larger than reported."
        yield held, words + rest
    for end in one.endings:
        if end.n > 0:
            yield None, f"{name}: {plural(end.n, 'point')} not certified: {end.sentence}"
    if one.not_finite > 0:
        yield (
            False,
            f"{name}: the bound of {plural(one.not_finite, 'point')} is not a finite number: there "
            "are no means; gap/points.csv flags them.",
        )
    if one.negative > 0:
        yield (
            None,
            f"{name}: the gap of {plural(one.negative, 'point')} came out below zero; "
            "a few near zero are noise of the draws.",
        )


def _starts(audit: AuditRecord) -> Iterator[Entry]:
    """Yield how often each other start ended elsewhere than the mode's own λ."""
    ends = [
        f"{one.differ:.0%} from the {START_WORDS.get(one.start, 'other')} start "
        f"({count(one.higher)} higher, {count(one.lower)} lower)"
        for one in audit.starts
        if math.isfinite(one.differ)
    ]
    if ends:
        yield (
            None,
            "Of these, so many ended more than 0.01 nats from where the mode's own λ led: "
            f"{', '.join(ends)}.",
        )


def _again(audit: AuditRecord) -> Iterator[Entry]:
    """Yield what a second search from λ* gained."""
    again = audit.doubling
    if again is not None and again.known:
        yield (
            again.ok is True,
            f"As much of a search again, from λ*, changed the bound of {plural(again.n, 'point')} "
            f"by {plus_minus(again)} nats in the mean.",
        )


def _flags(flags: Validity) -> Iterator[Entry]:
    """Yield the flags of the report's own validity block."""
    failed = flags.failed()
    for name, holds, fails, unasked in SENTENCES:
        if getattr(flags, name) is not None:
            yield name not in failed, fails if name in failed else holds
        elif unasked:
            yield None, unasked


START_WORDS = {
    "mode": "the mode's own",
    "family": "family's",
    "laplace": "Laplace",
    "random": "random",
    "second": "second opinion",
}
