"""`avi infer` from the shell: the commands of its page, its files, and what it says of rows."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from avi.cli import main
from avi.gap.acceptance import MEANING
from avi.gap.endings import Ending
from avi.results import posterior
from avi.results.posterior import Posterior
from avi.run.requested import MAKERS

PAGE = Path(__file__).parents[2] / "docs" / "infer.md"
COMMAND = re.compile(r"<!-- example: command -->\n```\navi (.*?)\n```")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return the folder that the commands of the page make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for command in COMMAND.findall(PAGE.read_text("utf-8")):
            assert main.run(shlex.split(command)) == 0
        return Path.cwd()


def test_the_page_knows_every_column_and_every_flag():
    page = PAGE.read_text("utf-8")
    columns = [name for name in Posterior._fields if name != "more"]
    for name in (*columns, *MAKERS):
        assert re.search(rf"`{name}[_`=]", page), name
    # The clock is not set, and a single lam is no second search.
    for flag in set(MEANING) - {Ending.CLOCK, Ending.CERTIFIED}:
        assert f"`{flag}`" in page, flag


def test_each_row_of_the_table_says_where_its_q_is_from(told):
    with (told / "outputs/line/infer/test/posterior.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 40
    for line in lines:
        assert line["source"] in ("accepted", "refined", "flagged")
        assert (line["source"] == "flagged") == bool(line["flags"])
        if not line["flags"]:
            assert float(line["certificate"]) < 0.1
    assert all(float(line["ms"]) > 0 for line in lines)


def test_json_is_all_that_is_printed_and_holds_what_the_file_does(told, monkeypatch, capsys):
    monkeypatch.chdir(told)
    words = ["infer", "run=outputs/line", "limit=3", "certify=false", "decoded=true", "out=there"]
    assert main.run([*words, "draws=5", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = posterior.read(Path("there"))
    assert [one["row"] for one in printed] == found.row.tolist()
    np.testing.assert_array_equal([one["mean"] for one in printed], found.mean)
    np.testing.assert_array_equal([one["decoded"] for one in printed], found.more["decoded"])
    assert "source" not in printed[0]  # of what nobody has judged nothing is said
    with np.load("there/draws.npz") as file:
        assert file["draws"].shape == (3, 5, 3)
        np.testing.assert_array_equal(file["row"], found.row)


def test_words_of_rows_come_back_from_the_file(tmp_path):
    """Flags of one accepted row are an empty text, which is a row all the same."""
    array = np.zeros((1, 2))
    one = Posterior(np.arange(1), array, array, array, array[:, 0], ("accepted",), ("",))
    posterior.write(tmp_path, one, ["a"], "name", {})
    assert posterior.read(tmp_path).flags == ("",)
    lines = (tmp_path / "posterior.csv").read_text().splitlines()
    assert lines[0].startswith("name,row,source,flags,bound,mean_0")
    assert lines[1].startswith("a,0,accepted,,0,0")
