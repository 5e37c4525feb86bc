"""The flags of a gap report, each with the sentences that say what it means."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple


@dataclass(frozen=True)
class Validity:
    """The flags of a report: None where a question does not arise or was not answered."""

    q_star_converged: bool | None = None
    n_ok: bool | None = None
    negative_gap: bool | None = None  # the one whose name states the trouble
    evidence_se_ok: bool | None = None
    khat_ok: bool | None = None
    finite: bool | None = None
    complete: bool | None = None
    doubling_ok: bool | None = None
    precision_ok: bool | None = None
    identity_ok: bool | None = None
    starts_ok: bool | None = None
    ess_ok: bool | None = None
    evidence_starts_ok: bool | None = None
    sandwich_ok: bool | None = None
    modes_ok: bool | None = None
    tails_ok: bool | None = None
    closed_form_ok: bool | None = None

    def failed(self) -> list[str]:
        """Return the names of the flags that do not hold."""
        trouble = {"negative_gap": True}
        names = [each.name for each in fields(self)]
        return [name for name in names if getattr(self, name) is trouble.get(name, False)]

    def told(self) -> Iterator[tuple[bool | None, str]]:
        """Yield of each flag whether it holds, None where that is open, and its sentence."""
        failed = self.failed()
        for name, holds, fails, unasked in SENTENCES:
            if getattr(self, name) is not None:
                yield name not in failed, fails if name in failed else holds
            elif unasked:
                yield None, unasked

    @property
    def verdict(self) -> str:
        """How many of the flags hold, and what the others warn of; empty without any."""
        asked = [each.name for each in fields(self) if getattr(self, each.name) is not None]
        failed = self.failed()
        if not asked:
            return ""
        if not failed:
            return f"All {len(asked)} checks hold"
        warnings = ", ".join(WARNINGS[name] for name in failed)
        return f"{len(asked) - len(failed)} of {len(asked)} checks hold: {warnings}"


WARNINGS = {
    "q_star_converged": "not every row is certified",
    "n_ok": "too few rows for an interval",
    "negative_gap": "a gap is negative",
    "evidence_se_ok": "the evidence is too noisy",
    "khat_ok": "khat warns",
    "finite": "a bound is not finite",
    "complete": "time ran out",
    "doubling_ok": "a second search still gained",
    "precision_ok": "single precision is too coarse",
    "identity_ok": "the report contradicts itself",
    "starts_ok": "other starts led higher",
    "ess_ok": "the evidence rests on few weights",
    "evidence_starts_ok": "annealing from the prior finds more",
    "sandwich_ok": "the evidence is not settled on simulated rows",
    "modes_ok": "simulated rows do not vouch for the evidence",
    "tails_ok": "bounds rest on draws too rare to be seen",
    "closed_form_ok": "the model's own log p(x) is contradicted",
}


class Sentences(NamedTuple):
    """What a page says of a flag; of those that are missing here other lines of the page tell."""

    name: str
    holds: str
    fails: str
    unasked: str = ""  # where the question does not arise; nothing is said by default


SENTENCES = (
    Sentences(
        "khat_ok",
        "The weights p(x, z) / q(z; λ*) have a light tail (k̂): where q at λ* has mass, it is "
        "close to the posterior. A mode that q misses altogether does not show here.",
        "k̂ warns: q at λ* is too far from the posterior to be a proposal, so that importance "
        "weights from it cannot be trusted.",
        "The evidence rests on no importance weights from q at λ* whose tail k̂ could judge.",
    ),
    Sentences(
        "evidence_se_ok",
        "The evidence is known to within the tolerance.",
        "The evidence is not known to within the tolerance: its own error is larger, and the "
        "approximation gap with it.",
    ),
    Sentences(
        "precision_ok",
        "Double precision finds the same bounds, as far as their draws can tell.",
        "The bounds are too large for single precision, or double precision finds others: nats "
        "below the tolerance are rounding. Try precision=float64.",
    ),
    Sentences(
        "complete",
        "No row and no evidence was dropped for lack of time.",
        "Time ran out: rows or their evidence were dropped, see what was left out.",
    ),
    Sentences(
        "identity_ok",
        "The family holds every posterior, and its approximation gap is zero, as it must be.",
        "The family holds every posterior, and yet its approximation gap is not zero: the report "
        "contradicts itself.",
    ),
    Sentences(
        "starts_ok",
        "No other start led higher, or all points were searched from all of them.",
        "Other starts led higher for some of the points that were audited: others may gain too.",
    ),
    Sentences(
        "ess_ok",
        "The evidence rests on many of its weights.",
        "The evidence of too many points rests on few of its weights: it may be far too low.",
    ),
    Sentences(
        "evidence_starts_ok",
        "Annealing from q and from the prior find the same evidence.",
        "Annealing from the prior finds more than from q at too many points: q misses modes there.",
    ),
    Sentences(
        "n_ok",
        "There are enough datapoints for an interval, and none of them carries the mean.",
        "No interval of the mean can be honest: there are fewer than 30 points, or a few of them "
        "carry the mean. Look at the median and the quantiles.",
    ),
    Sentences(
        "negative_gap",
        "No mean gap is below zero beyond three standard errors, no point beyond chance (1e-6).",
        "A mean gap is below zero beyond three standard errors, or a point beyond chance (1e-6): "
        "the report contradicts itself.",
    ),
    Sentences(
        "sandwich_ok",
        "Bounds from both sides agree on simulated data.",
        "Bounds from both sides disagree on simulated data: the evidence is not settled.",
    ),
    Sentences(
        "modes_ok",
        "Told where z lies, which is known of simulated rows, the evidence finds no further mode.",
        "Simulated rows do not vouch for the evidence: told where their z lies it finds a mode "
        "that it had missed, or too many real rows are less likely than any of them. It may be too "
        "low, and λ* may lie on a lesser hill.",
    ),
    Sentences(
        "tails_ok",
        "The tails of q hold nothing of the bounds that draws nearer to it do not foretell.",
        "The bounds of some rows rest on draws of q too rare to be seen (tails): they may be far "
        "lower than reported, or have no mean at all. Try a family with lighter tails, or look at "
        "these rows.",
    ),
    Sentences(
        "closed_form_ok",
        "The model's own log p(x) agrees with estimates that do not ask the model for it.",
        "The model's own log p(x) and an estimate of it contradict each other: either its closed "
        "form is wrong, and the approximation gap with it, or q at λ* misses a mode. Try "
        "avi verify model=<yours>.",
    ),
)
