"""Pages from their templates: self-contained, no scripts, nothing fetched, all words escaped."""

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avi.report import wording
from avi.report.columns import with_columns

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).with_name("templates")
_FILTERS = (
    wording.plus_minus,
    wording.between,
    wording.digits,
    wording.three_digits,
    wording.percent,
    wording.probability,
    wording.count,
    wording.duration,
    wording.milliseconds,
    wording.plural,
    wording.price,
    wording.audited,
    wording.in_markdown,
)


def page(template: str, **values: Any) -> str:
    """Return the page of a template; a value that it names and does not get is an error."""
    made = _environment().get_template(template).render(**values)
    return with_columns(made) if template.endswith(".html") else made


def markup(drawing: str) -> str:
    """Mark what we drew ourselves, which is not to be escaped."""
    from markupsafe import Markup

    return Markup(drawing)  # noqa: S704


@cache
def _environment() -> "Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=lambda name: name is None or name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({each.__name__: each for each in _FILTERS})
    environment.tests["known"] = _known
    environment.filters.update(png=_png, known=_known, heading=_heading, subject=_subject)
    environment.globals.update(style=markup((_FOLDER / "page.css").read_text("utf-8")))
    return environment


def _png(content: bytes) -> str:
    """Return a PNG as an address that carries its own bytes."""
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def _known(value: Any) -> bool:
    """Say whether a number, an estimate or a text is there."""
    if isinstance(value, float | int):
        return value == value and abs(value) != float("inf")
    return bool(getattr(value, "known", value))


def _heading(words: str) -> str:
    """Return words that begin with a capital and are otherwise as they are."""
    return words[:1].upper() + words[1:]


def _subject(words: str) -> tuple[str, str]:
    """Return "Subject: what is said" as its two parts."""
    subject, _, rest = words.partition(": ")
    return subject, rest
