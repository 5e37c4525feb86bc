"""Cells that know the names of their columns: on a phone the rows of a table stand alone."""

import re

_TABLE = re.compile(r"<table>\n?(<thead>.*?</thead>)(.*?)</table>", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<t[hd](?P<traits>[^>]*)>(?P<words>.*?)</t[hd]>", re.DOTALL)
_SPAN = re.compile(r'colspan="(\d+)"')


def with_columns(page: str) -> str:
    """Return a page of our templates with data-column at every cell whose column has a name.

    All words in it are escaped: a bracket is one of a template.
    """
    return _TABLE.sub(_with_columns, page)


def _with_columns(table: re.Match[str]) -> str:
    names = _names(table[1])

    def named(row: re.Match[str]) -> str:
        place = 0

        def cell(found: re.Match[str]) -> str:
            nonlocal place
            name = names[place] if place < len(names) else ""
            place += _span(found["traits"])
            column = f' data-column="{name}"' if name and found["words"].strip() else ""
            return f"<td{column}{found['traits']}>{found['words']}</td>"

        return _CELL.sub(cell, row[0])

    return f"<table>{table[1]}{_ROW.sub(named, table[2])}</table>"


def _names(head: str) -> list[str]:
    """Return the name of every column: all that stands above it, from the top."""
    rows = [
        [found["words"] for found in _CELL.finditer(row[0]) for _ in range(_span(found["traits"]))]
        for row in _ROW.finditer(head)
    ]
    return [", ".join(filter(None, names)) for names in zip(*rows, strict=True)]


def _span(traits: str) -> int:
    found = _SPAN.search(traits)
    return int(found[1]) if found else 1
