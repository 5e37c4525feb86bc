"""How numbers and their meaning are put into words: one place, so that all pages say the same."""

import math
import shlex
from typing import Protocol

from avi.results.facts import Cost
from avi.results.gap import AuditRecord
from avi.results.record import Interval
from avi.results.run import Run

MISSING = "—"
SMALLEST_P = 1e-9  # below it the rounding of a sum of ones says more
MINUS = "\N{MINUS SIGN}"


class Estimated(Protocol):
    """A number and its standard error."""

    @property
    def mean(self) -> float: ...
    @property
    def se(self) -> float: ...


def plus_minus(value: Estimated | None) -> str:
    """Return `value` with as many digits as its standard error deserves: −97.8 ± 0.3."""
    if value is None or not math.isfinite(value.mean):
        return MISSING
    if not math.isfinite(value.se):
        return signed(f"{value.mean:.2f}")
    decimals = _decimals(value.se)
    shown, error = _rounded(value.mean, decimals), f"{value.se:.{decimals}f}"
    smallest = f"{10**-decimals:.{decimals}f}"
    return signed(f"{shown} ± {error if float(error) else f'<{smallest}'}")


def between(interval: Interval) -> str:
    """Return both ends with the digits that the length deserves, empty where it is not known."""
    if interval is None:
        return ""
    low, high = interval
    decimals = _decimals((high - low) / 4)
    return signed(f"{_rounded(low, decimals)} to {_rounded(high, decimals)}")


def _rounded(value: float, decimals: int) -> str:
    """Return a number with so many decimals, never -0.0."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def signed(digits: str) -> str:
    """Return printed numbers with a true minus sign."""
    return digits.replace("-", MINUS)


def digits(value: float, form: str) -> str:
    """Return a number in one of Python's forms, such as `.1f`, with a true minus sign."""
    return signed(format(value, form)) if math.isfinite(value) else MISSING


def three_digits(value: float) -> str:
    """Return a number with three significant digits, trailing zeros kept: 0.150."""
    return signed(f"{value:#.3g}".rstrip(".")) if math.isfinite(value) else MISSING


def percent(share: float) -> str:
    """Return a share of one in per cent."""
    return f"{100 * share:.1f} %" if math.isfinite(share) else ""


def probability(p: float) -> str:
    """Return a p-value with two digits; one too small to be computed as a limit."""
    if not math.isfinite(p):
        return MISSING
    return "<1e-9" if p < SMALLEST_P else f"{p:.2g}"


def _decimals(standard_error: float) -> int:
    if standard_error <= 0:
        return 3
    exponent = math.floor(math.log10(standard_error))
    # One digit of the error, two where it starts with 1: 0.3, 0.12, 0.015.
    second = standard_error / 10**exponent < 1.95
    return min(max(0, second - exponent), 6)


def side(kind: str) -> str:
    """Return the sign before evidence of one kind: a bound from below is log p(x) or less."""
    return {"lower": "≥ ", "upper": "≤ "}.get(kind, "")


def count(value: float) -> str:
    """Return a whole number with thousands separated: 45,984."""
    return f"{round(value):,}" if math.isfinite(value) else MISSING


def duration(seconds: float) -> str:
    """Return seconds as a person says them: 48 s, 3 min 5 s, 2 h 10 min."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def milliseconds(value: float) -> str:
    """Return milliseconds with three digits and the unit that suits them."""
    if not math.isfinite(value):
        return MISSING
    if value < 0.1:
        return f"{value * 1000:.3g} µs"
    return f"{value:.3g} ms" if value < 1000 else duration(value / 1000)


def plural(amount: float, noun: str) -> str:
    """Return `amount` with its noun: 1 point, 2 points."""
    return f"{count(amount)} {noun}{'' if amount == 1 else 's'}"


def printable(words: str) -> str:
    """Return somebody's words without control characters: no escape sequence reaches a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def in_markdown(words: str) -> str:
    """Return somebody's words so that Markdown shows them as they are."""
    for letter in "\\`*_[]|":
        words = words.replace(letter, f"\\{letter}")
    return printable(words.replace("\n", " ")).replace("&", "&amp;").replace("<", "&lt;")


def audited(audit: AuditRecord) -> str:
    """Return how many points other starts led higher, and by how much; empty without any."""
    if not audit.points > 0:
        return ""
    words = (
        f"Other starts led higher for {count(audit.improved)} of {plural(audit.points, 'point')} "
        "that were tried from several"
    )
    if audit.improved == 0:
        return f"{words}: with 95 % confidence, fewer than {audit.may_gain:.0%} of all would gain."
    most = f", by up to {audit.largest:.2g} nats" if math.isfinite(audit.largest) else ""
    then = "; all points were then searched from all of them" if audit.all_points else ""
    return f"{words}{most}{then}."


def gap_command(run: Run) -> str:
    """Return the command that makes the full gap report of the run."""
    return f"avi gap {shlex.quote(f'run={run.folder}')}"


def loser(run: Run) -> str:
    """Return who loses the nats of the gap."""
    names = {
        "amortized": "the encoder",
        "semi_amortized": "the encoder with its refinement steps",
        "iterative": "the encoder with its learned updates",
        "hypernetwork": "the encoder",
        "free_form": "the free-form table",
        "svi": "the local optimisation",
    }
    return names.get(run.choice("inference"), "inference")


def growth(run: Run) -> str:
    """Return in words how the number of variational parameters depends on N."""
    stored, each = run.facts.num_variational_parameters, run.facts.params_per_datapoint
    if not math.isfinite(stored):
        return ""
    if stored == 0:
        return "nothing is kept per observation, whatever N"
    if run.amortized:
        return "the weights of the encoder: the same for any N"
    if run.tabled:
        return f"N × {count(each)}: grows with every observation"
    return ""


def price(cost: Cost) -> str:
    """Return what one observation outside the training set costs, empty where it is not known."""
    parts = []
    if cost.gradient_evaluations > 0:
        parts.append(plural(cost.gradient_evaluations, "gradient evaluation"))
    if math.isfinite(cost.milliseconds_one):
        parts.append(f"{milliseconds(cost.milliseconds_one)} alone")
    if math.isfinite(cost.milliseconds_batch):
        parts.append(f"{milliseconds(cost.milliseconds_batch)} each in a batch")
    return " · ".join(parts)
