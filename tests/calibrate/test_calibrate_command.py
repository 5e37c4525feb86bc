"""`avi calibrate` from the shell: the commands of its page, its files, and what it refuses."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from avi.cli import main
from avi.results.calibration import CALIBRATION, read
from avi.results.store import Files

PAGE = Path(__file__).parents[2] / "docs" / "calibrate.md"
COMMAND = re.compile(r"<!-- example: command -->\n```\navi (.*?)\n```")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Return the run that the commands of the page make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for command in COMMAND.findall(PAGE.read_text("utf-8")):
            assert main.run(shlex.split(command)) == 0
        return Path("outputs/line").resolve()


def test_the_commands_of_the_page_leave_a_record_and_a_section(calibrated):
    found = read(Files(calibrated))
    assert (found.n, found.num_draws) == (200, 99)
    assert found.certified > 0
    names = [one.name for one in found.own.quantities]
    assert names == [one.name for one in found.best.quantities]
    assert [round(each.nominal, 12) for each in found.own.quantities[0].coverage] == [0.5, 0.9]
    assert 'id="calibration"' in (calibrated / "report.html").read_text("utf-8")


def test_json_is_all_that_is_printed_and_what_the_file_says(calibrated, tmp_path, capsys):
    run = Path(shutil.copytree(calibrated, tmp_path / "run"))
    words = ["calibrate", f"run={run}", "calibrate.num_points=20", "calibrate.search=false"]
    assert main.run([*words, "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed == json.loads((run / CALIBRATION).read_text("utf-8"))
    assert printed["n"] == 20
    assert printed["best"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("calibrate.num_draws=18", "calibrate.num_draws must be 19 or more"),
        ("calibrate.num_points=19", "calibrate.num_points must be 20 or more"),
        ("calibrate.failure_rate=1", "is a probability"),
        ("calibrate.num_point=40", "Did you mean calibrate.num_points?"),
        ("gap.frontier=3", "gap.frontier=3 does nothing here"),
        ("calibrate.search=false gap.budget=100", "leaves out the search"),
        ("--jsn", "There is no flag --jsn"),
        ("num_points=40", "its keys are"),
    ],
)
def test_words_that_do_nothing_are_refused(calibrated, words, sentence, capsys):
    assert main.run(["calibrate", f"run={calibrated}", *words.split()]) == 2
    assert sentence in capsys.readouterr().err
