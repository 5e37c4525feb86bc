"""Every command line of the pages and of the README is taken as it is typed; links lead somewhere.

Synthetic runs stand in for training and reports. Lines with <...> are for the reader to fill in.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from avi.cli.main import run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TYPED = ("which-mode-when", "my-encoders-gap", "my-own-table", "read-a-sweep")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def lines_of(page):
    """Return the commands of a page: whole lines of its blocks that begin with avi."""
    blocks = [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind in ("", "sh")]
    lines = (line for text in blocks for line in text.splitlines() if line.startswith("avi "))
    return [line for line in lines if "<" not in line and "..." not in line]


@pytest.mark.parametrize("name", TYPED)
def test_the_commands_of_a_page_are_taken_in_their_order(name, stand_ins, capsys):
    page = ROOT / "docs" / f"{name}.md"
    for file, text in FILE.findall(page.read_text("utf-8")):
        Path(file).write_text(text)
        subprocess.run([sys.executable, file], check=True)
    assert lines_of(page)
    for line in lines_of(page):
        words = [
            found
            for word in shlex.split(line, comments=True)[1:]
            for found in (sorted(map(str, Path().glob(word))) if word.endswith("*") else [word])
        ]
        assert run(words) == 0, f"{line}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_links_to_is_there(page):
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page.read_text("utf-8")):
        if not link.startswith(("http:", "https:")):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_choices_that_a_page_names_exist(page):
    from avi.config import catalog

    known = catalog.groups()
    named = re.findall(r"`(?:[^`\n]* )?(\w+)=(\w+)`", page.read_text("utf-8"))
    own = page.name in ("CONTRIBUTING.md", "add-a-component.md")
    strange = [f"{group}={name}" for group, name in named
               if group in known and name not in known[group]]  # fmt: skip
    assert own or not strange, strange
