"""The pages as a site, and in the terminal."""

import os
import subprocess
import sys
from pathlib import Path

from avi.cli.main import run
from avi.process import manual

ROOT = Path(__file__).parents[2]


def test_the_site_builds_strictly_and_has_every_page(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "index.html").read_text("utf-8")
    for name in (*manual.pages(), "contributing"):
        assert (tmp_path / f"{name}.html").is_file()
        assert f'href="{name}.html"' in home, f"{name} is not in the menu"


def test_pages_are_listed_by_their_headings_in_80_columns(capsys):
    assert run(["docs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(manual.pages())
    assert ["which-mode-when", "Which", "mode", "when?"] in [line.split() for line in lines]
    assert max(map(len, lines)) <= 80


def test_a_page_is_shown_as_it_is_written_where_nobody_looks(capsys):
    assert run(["docs", "which-mode-when"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "which-mode-when.md").read_text("utf-8")


def test_a_page_that_is_not_there_is_refused_with_one_that_is(capsys):
    assert run(["docs", "which-mode"]) == 2
    assert "Did you mean which-mode-when?" in capsys.readouterr().err
