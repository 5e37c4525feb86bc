"""The planted bugs have a place in the code and tests that exist; scripts/mutants plants them."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load():
    """Return scripts/mutants as a module."""
    loader = importlib.machinery.SourceFileLoader("mutants", str(ROOT / "scripts" / "mutants"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutants", loader))
    sys.modules["mutants"] = module
    loader.exec_module(module)
    return module


MUTANTS = load().MUTANTS


def test_at_least_twenty_five_bugs_are_planted():
    assert len({mutant.name for mutant in MUTANTS}) >= 80


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_has_one_place_and_tests_that_exist(mutant):
    assert (ROOT / mutant.path).read_text(encoding="utf-8").count(mutant.right) == 1
    for test in mutant.tests:
        path, name = test.partition("[")[0].split("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
