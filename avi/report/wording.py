"""How numbers and their meaning are put into words: one place, so that all pages say the same."""

import math
import shlex
from typing import Any

from avi.report.files import RunFiles, Value, number, text
from avi.settings import WITHOUT_EFFECT

MISSING = "—"
MINUS = "\N{MINUS SIGN}"


def plus_minus(value: Value) -> str:
    """Return `value` with as many digits as its standard error deserves: −97.8 ± 0.3."""
    if not value.known:
        return MISSING
    if not math.isfinite(value.standard_error):
        return signed(f"{value.mean:.2f}")
    decimals = _decimals(value.standard_error)
    return signed(f"{value.mean:.{decimals}f} ± {value.standard_error:.{decimals}f}")


def between(interval: Any) -> str:
    """Return [low, high] with the digits that its length deserves, empty where it is not known."""
    if not isinstance(interval, list) or len(interval) != 2:
        return ""
    low, high = (number({"end": end}, "end") for end in interval)
    if not math.isfinite(high - low):
        return ""
    decimals = _decimals((high - low) / 4)
    return signed(f"{low:.{decimals}f} to {high:.{decimals}f}")


def signed(digits: str) -> str:
    """Return printed numbers with a true minus sign."""
    return digits.replace("-", MINUS)


def three_digits(value: float) -> str:
    """Return a number with three significant digits, trailing zeros kept: 0.150."""
    return signed(f"{value:#.3g}".rstrip(".")) if math.isfinite(value) else MISSING


def _decimals(standard_error: float) -> int:
    if standard_error <= 0:
        return 3
    exponent = math.floor(math.log10(standard_error))
    # One digit of the error, two where it starts with 1: 0.3, 0.12, 0.015.
    second = standard_error / 10**exponent < 1.95
    return min(max(0, second - exponent), 6)


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


def is_amortized(run: RunFiles) -> bool:
    """Say whether an encoder finds λ: only then is the gap an amortization gap."""
    known = run.fact("mode_amortized")
    if isinstance(known, bool):
        return known
    return text(run.gap, "gap_name") == "amortization gap"


def gap_name(run: RunFiles) -> str:
    """Return the name of bound(λ*) − bound(λ) for this mode."""
    return "amortization gap" if is_amortized(run) else "optimisation gap"


def choice(run: RunFiles, group: str) -> str:
    """Return what the run chose for `group`, empty where the file does not say."""
    return text(run.facts, "choices", group)


def override_key(word: str) -> str:
    """Return the key of a command line word: `inference` for `+inference=svi`."""
    return word.partition("=")[0].lstrip("+~").partition("@")[0]


def is_incidental(word: str) -> bool:
    """Say whether an override names a place or a moment and leaves the experiment as it is."""
    key = override_key(word)
    return key in WITHOUT_EFFECT or key.startswith("hydra.")


def objective_name(run: RunFiles) -> str:
    """Return the name of the bound that was trained and that the curves show."""
    named = text(run.facts, "bound")
    if named:
        return named
    chosen = choice(run, "objective") or text(run.gap, "objective_trained") or "elbo"
    if "iwae" not in chosen.lower():
        return "ELBO"
    draws = [number(run.config, "objective", key) for key in ("num_draws", "num_samples", "k")]
    known = [value for value in draws if math.isfinite(value)]
    return f"IWAE-{round(known[0])}" if known else "IWAE bound"


def reported_bound(run: RunFiles) -> str:
    """Return the name of the bound that the gap report is in."""
    return text(run.gap, "bound") or "ELBO"


def gap_command(run: RunFiles) -> str:
    """Return the command that makes the full gap report of the run."""
    return f"avi gap {shlex.quote(f'run={run.folder}')}"


def gap_title(run: RunFiles) -> str:
    """Return the heading of the gap section; it names the bound whenever two are in play."""
    trained, reported = objective_name(run), reported_bound(run)
    if trained == reported:
        return gap_name(run).capitalize()
    who = "encoder" if is_amortized(run) else "mode"
    return f"{reported} gap, {who} trained on {trained}"


def loser(run: RunFiles) -> str:
    """Return who loses the nats of the gap."""
    names = {
        "amortized": "the encoder",
        "semi_amortized": "the encoder with its refinement steps",
        "free_form": "the free-form optimisation",
        "svi": "the local optimisation",
    }
    return names.get(choice(run, "inference"), "inference")


def growth(run: RunFiles) -> str:
    """Return in words how the number of variational parameters depends on N."""
    stored = number(run.facts, "num_variational_parameters")
    each = number(run.facts, "params_per_datapoint")
    if not math.isfinite(stored):
        return ""
    if stored == 0:
        return "nothing is kept per observation, whatever N"
    if is_amortized(run):
        return "the weights of the encoder: the same for any N"
    if math.isfinite(each) and stored == each * number(run.facts, "num_data"):
        return f"N × {count(each)}: grows with every observation"
    return ""


def new_observation(run: RunFiles) -> tuple[str, str]:
    """Return what one observation outside the training set costs: the kind of work, its price."""
    kind = text(run.facts, "new_observation", "kind")
    if not kind:
        return "", ""
    gradients = number(run.facts, "new_observation", "gradient_evaluations")
    one = number(run.facts, "new_observation", "milliseconds_one")
    batch = number(run.facts, "new_observation", "milliseconds_batch")
    price = []
    if gradients > 0:
        price.append(plural(gradients, "gradient evaluation"))
    if math.isfinite(one):
        price.append(f"{milliseconds(one)} alone")
    if math.isfinite(batch):
        price.append(f"{milliseconds(batch)} each in a batch")
    return f"one {kind}", " · ".join(price)
