"""The oracle suite as a command: every case within tolerance, its answers reproducible."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from avi.cli import verify
from avi.errors import ConfigError, ValidityError
from avi.verify import suite

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "avi" / "verify" / "oracles.json"


def numbers(tree):
    """Return all numbers of a json tree in order."""
    if isinstance(tree, dict):
        return [number for key in sorted(tree) for number in numbers(tree[key])]
    if isinstance(tree, list):
        return [number for part in tree for number in numbers(part)]
    return [tree]


def test_the_stored_answers_are_those_of_the_independent_script(tmp_path):
    script = ROOT / "tests" / "oracles" / "make_oracles.py"
    words = [sys.executable, str(script), str(tmp_path / "made.json")]
    subprocess.run(words, check=True, timeout=300)
    made, kept = (json.loads(path.read_text()) for path in (tmp_path / "made.json", STORED))
    assert made.keys() == kept.keys()
    # Another BLAS may round the last stored digit otherwise.
    assert numbers(made) == pytest.approx(numbers(kept), rel=1e-7, abs=1e-9)


def test_the_independent_scripts_import_neither_avi_nor_jax():
    for name in ("make_oracles.py", "closed_forms.py"):
        text = (ROOT / "tests" / "oracles" / name).read_text()
        assert "import avi" not in text
        assert "from avi" not in text
        assert "import jax" not in text


def test_there_are_at_least_sixty_five_cases():
    assert len(suite.names(None)) >= 65
    assert {name for name in suite.TOLERANCES} <= set(suite.names(None))


def test_one_natural_step_solves_a_conjugate_bound():
    (row,) = suite.rows("one natural step, full rank")
    assert row.ok


@pytest.mark.slow
@pytest.mark.parametrize("section", suite.SECTIONS)
def test_every_case_is_within_its_tolerance(section):
    wrong = [row for row in suite.rows(f"{section}: ") if not row.ok]
    assert wrong == []


def test_the_table_fits_a_terminal_and_counts_its_cases(capsys):
    verify.main("hierarchy: evidence")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1] == "hierarchy"
    assert lines[2].split()[0] == "evidence"
    assert lines[2].endswith("ok")
    assert lines[3].startswith("1 of 1 cases within tolerance")


def test_a_case_outside_its_tolerance_ends_with_its_name(monkeypatch, capsys):
    monkeypatch.setitem(suite.TOLERANCES, ("hierarchy", "evidence"), -1.0)
    with pytest.raises(ValidityError, match="hierarchy: evidence"):
        verify.main("hierarchy: evidence")
    assert "FAIL" in capsys.readouterr().out


def test_an_unknown_case_is_refused():
    with pytest.raises(ConfigError, match="Try one of linear, missing"):
        verify.main("quantum")
