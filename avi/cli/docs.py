"""`avi docs`: the pages that came with this avi."""

import sys

from avi.cli.command import Command, Line
from avi.errors import ConfigError


def run(words: list[str]) -> int:
    """List the pages, or show one."""
    from avi.process import manual

    known = manual.pages()
    if not words:
        width = max(map(len, known), default=0)
        for name, path in known.items():
            print(f"{name:<{width}}  {manual.title(path)}"[:80])
        return 0
    if len(words) > 1 or words[0] not in known:
        from avi.config.schema import nearest

        asked = " ".join(words)
        raise ConfigError(f"There is no page {asked}.{nearest(asked, known)} avi docs lists them.")
    text = known[words[0]].read_text(encoding="utf-8")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        console = Console()
        with console.pager():
            console.print(Markdown(text), width=min(console.width, 100))
    else:
        print(text, end="")
    return 0


def offer(line: Line) -> list[str]:
    """Return the pages."""
    from avi.cli import offers
    from avi.process import manual

    return offers.starting(line.current, manual.pages())


COMMAND = Command(
    name="docs",
    summary="show a page of the documentation that came with this avi",
    usage="avi docs [page]",
    examples="""\
  avi docs                                  the pages, a line each
  avi docs which-mode-when
  avi docs my-own-table > page.md           as it is written
""",
    run=run,
    offer=offer,
    title="List the pages of the documentation, or show one",
    answers_only=True,
)
