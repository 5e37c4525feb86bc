"""What the commands that print tables share: their flags, a table of 80 columns, and JSON."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, redirect_stdout
from typing import Any


def flagged(words: list[str], *flags: str) -> tuple[dict[str, list[str]], list[str]]:
    """Take `--flag value` and the bare `--json` out of the words; return them and the others.

    Raises:
        ConfigError: a flag that is not one of these, or one without its value.
    """
    from avi.config.schema import nearest
    from avi.errors import ConfigError

    found: dict[str, list[str]] = {}
    left, remaining = [], iter(words)
    for word in remaining:
        name, equals, value = word.partition("=")
        if name == "--json":
            found["--json"] = []
        elif name in flags:
            given = value if equals else next(remaining, None)
            if given is None:
                raise ConfigError(f"{name} takes a value, for example {name} {EXAMPLES[name]}")
            found.setdefault(name, []).append(given)
        elif word.startswith("-"):
            known = [*flags, "--json"]
            raise ConfigError(
                f"There is no flag {word}; there are {', '.join(known)}.{nearest(word, known)}"
            )
        else:
            left.append(word)
    return found, left


EXAMPLES = {"--sort": "bound", "--where": "model=vae"}


def print_table(cells: Sequence[Sequence[str]]) -> None:
    """Print header and cells as wide as the terminal; what is longer is folded, never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in cells[0]:
        table.add_column(name, overflow="fold")
    for row in cells[1:]:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def talk_aside() -> AbstractContextManager[object]:
    """Let what is said meanwhile go to standard error: standard output is for JSON alone."""
    return redirect_stdout(sys.stderr)


def print_json(records: Sequence[Any]) -> None:
    """Print records as JSON, null for what is not known."""
    import json

    from avi.results.record import plain

    print(json.dumps([plain(one) for one in records], indent=1, ensure_ascii=False))
