"""The notebooks run from first to last: what they type exists, and what they read is there.

A synthetic run stands in for every training and every report, which would take minutes; their words
are composed and checked as ever.
"""

import ast
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))


def cells(path):
    return json.loads(path.read_text("utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_the_first_cell_to_the_last(path, stand_ins):
    names = {}
    for cell in cells(path):
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, path.name, "exec"), names)
            if shown is not None:
                found = eval(compile(ast.Expression(shown.value), path.name, "eval"), names)
                assert found is None or repr(found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_is_typed_and_leads_to_pages_that_exist(path):
    assert len(NOTEBOOKS) == 2
    for cell in cells(path):
        words = "".join(cell["source"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            assert max(map(len, words.splitlines())) <= 100
        for link in [part.partition(")")[0] for part in words.split("](")[1:]]:
            assert (DOCS / link).is_file(), link
