"""A verb agrees with its number, wherever a message counts something."""

import ast
import re
from pathlib import Path

import pytest

from avi.process.grammar import many, verb

ROOT = Path(__file__).resolve().parents[2]
# A hole, perhaps another behind of, words, a noun of several, and the verb as it is written.
COUNTED = re.compile(
    r"(\{[^{}]*\})(?: of (?:the |all )?\{[^{}]*\})?(?: [a-z-]+| \{[a-z_]+\}){0,3}? [a-z]+s "
    r"(?:are|were|have|do)\b"
)
NAMES = ("{split}",)  # holes that hold no number


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 rows are"), (1, "1 row is"), (2, "2 rows are")]
)
def test_one_is_alone_in_its_number(number, said):
    assert f"{many(number, 'row')} {verb(number, 'are')}" == said


def test_every_verb_has_its_singular():
    assert [verb(1, one) for one in ("are", "were", "do", "have")] == ["is", "was", "does", "has"]


@pytest.mark.parametrize("path", sorted((ROOT / "avi").rglob("*.py")), ids=lambda path: path.stem)
def test_no_count_meets_a_verb_that_is_written_out(path):
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if is_text(node)]
    found = [match for match in map(COUNTED.search, map(text, nodes)) if match is not None]
    wrong = [match[0] for match in found if match[1] not in NAMES and "|" not in match[0]]
    assert not wrong, "say {verb(<count>, 'are')} of avi.process.grammar"


def is_text(node):
    return isinstance(node, ast.JoinedStr)


def text(node):
    """Return an f-string with its holes as they are written; of a plural no hole is a count."""
    return "".join(
        part.value if isinstance(part, ast.Constant) else hole(ast.unparse(part.value))
        for part in node.values
    )


def hole(source):
    return "|" if source.startswith(("plural(", "many(", "verb(")) else f"{{{source}}}"
