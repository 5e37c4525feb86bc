"""Words that go with a number: 1 row is, 2 rows are, about 3 min."""

from typing import Literal

Verb = Literal["are", "were", "do", "have"]
OF_ONE: dict[Verb, str] = {"are": "is", "were": "was", "do": "does", "have": "has"}


def many(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s: 1 row, 2 rows."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def verb(number: int, of_several: Verb) -> str:
    """Return the verb behind a number: 1 of 65 rows is, 2 of 65 rows are."""
    return OF_ONE[of_several] if number == 1 else of_several


def about(seconds: float) -> str:
    """Return a time that is only guessed, in one unit: 40 s, 3 min, 2 h."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
