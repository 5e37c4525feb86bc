"""The pieces of a self-contained page: no scripts, nothing fetched, all words escaped."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

# Even a page that somebody tampered with cannot fetch or run anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, *body: str) -> str:
    """Return a whole page; `body` is markup, `title` is plain words."""
    css = Path(__file__).with_name("page.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def paragraph(words: str, kind: str = "") -> str:
    """Return plain words as a paragraph."""
    return f"<p{_class(kind)}>{escape(words)}</p>" if words else ""


def link(address: str, words: str) -> str:
    """Return a paragraph that leads to a file beside the page."""
    return f'<p><a href="{escape(address)}">{escape(words)}</a></p>'


def claim(words: str) -> str:
    """Return "Subject: what is said" as a paragraph that begins with its subject set off."""
    subject, _, rest = words.partition(": ")
    return f"<p><strong>{escape(subject)}:</strong> {escape(rest)}</p>"


def banner(sentences: Iterable[str]) -> str:
    """Return sentences that must not be overlooked."""
    inside = "".join(paragraph(sentence) for sentence in sentences)
    return f'<div class="banner" role="note">{inside}</div>' if inside else ""


def section(heading: str, *body: str) -> str:
    """Return a section; an empty one leaves no heading behind."""
    inside = "\n".join(part for part in body if part)
    return f"<section>\n<h2>{escape(heading)}</h2>\n{inside}\n</section>" if inside else ""


def figure(markup: str, caption: str = "", kind: str = "") -> str:
    """Return inline markup as a figure with a plain caption."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure{_class(kind)}>{markup}{below}</figure>"


def image(png: bytes, alternative: str) -> str:
    """Return a PNG as an image that carries its own bytes."""
    encoded = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{encoded}">'


def facts(entries: Iterable[tuple[str, str, str]]) -> str:
    """Return (term, fact, remark) triples as a list; entries without a fact are left out."""
    cells = [
        f"<div><dt>{escape(term)}</dt><dd>{escape(fact)}"
        + (f"<small>{escape(remark)}</small>" if remark else "")
        + "</dd></div>"
        for term, fact, remark in entries
        if fact
    ]
    return f'<dl class="facts">{"".join(cells)}</dl>' if cells else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str]) -> str:
    """Return plain cells as a table; `kinds` gives each column's class."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td{_class(kind)}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def checks(entries: Iterable[tuple[bool | None, str]]) -> str:
    """Return (holds, sentence) pairs as a ticked list; None is a question left open."""
    marks = {True: "yes", False: "no", None: "open"}
    items = "".join(f'<li class="{marks[holds]}">{escape(words)}</li>' for holds, words in entries)
    return f'<ul class="checks">{items}</ul>' if items else ""


def code(text: str) -> str:
    """Return text set as it would be typed."""
    return f"<pre>{escape(text)}</pre>"


def folded(summary: str, *body: str) -> str:
    """Return markup that opens when the reader asks for it."""
    return f"<details><summary>{escape(summary)}</summary>\n{''.join(body)}</details>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
