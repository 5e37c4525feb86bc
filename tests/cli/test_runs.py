"""`avi runs` and `avi diff`: every run in two lines, two in one table, both for programs."""

import json
import os

import pytest
from report.conftest import write_run

from avi.cli.main import run
from avi.cli.overview import listed
from avi.rundir import RunDir
from avi.rundir.lock import Lock, is_held


@pytest.fixture
def runs(workplace):
    """Three runs under outputs, one of them in a sweep."""
    root = workplace / "outputs"
    return [
        write_run(root / "train" / "one"),
        write_run(root / "train" / "other", inference="svi", seed=1),
        write_run(root / "sweeps" / "grid" / "third", seed=2),
    ]


def said(capsys, *words):
    assert run(list(words)) == 0
    return capsys.readouterr().out


def test_every_run_under_outputs_is_listed_in_two_lines(runs, capsys):
    lines = said(capsys, "runs").splitlines()
    assert len(lines) == 6
    assert [line.split()[0] for line in lines[::2]] == [
        "sweeps/grid/third", "train/one", "train/other",
    ]  # fmt: skip
    assert all("test ELBO" in line and "gap" in line for line in lines[1::2])
    assert max(map(len, lines)) <= 80


def test_for_programs_and_in_the_order_that_is_asked_for(runs, capsys):
    found = json.loads(said(capsys, "runs", "--sort", "bound", "--json"))
    bounds = [one["bound"] for one in found]
    assert bounds == sorted(bounds, reverse=True)
    assert {one["state"] for one in found} == {"done"}
    gaps = json.loads(said(capsys, "runs", "--sort=gap", "--json"))
    assert [one["gap"] for one in gaps] == sorted(one["gap"] for one in gaps)


@pytest.mark.parametrize(
    ("conditions", "number"),
    [
        (["inference=svi"], 1),
        (["inference=amortized"], 2),
        (["seed=2"], 1),
        (["inference=svi", "seed=2"], 0),
        (["no.such.key=3"], 0),
        (["no.such.key=null"], 3),
    ],
)
def test_conditions_are_choices_or_settings(conditions, number, runs, capsys):
    words = [word for one in conditions for word in ("--where", one)]
    assert len(json.loads(said(capsys, "runs", *words, "--json"))) == number
    if not number:
        assert said(capsys, "runs", *words) == "No runs that meet all conditions.\n"


def test_a_run_that_nobody_holds_was_killed(runs):
    RunDir(runs[0]).update_run(status="running")
    assert [one.state for one in listed(runs)] == ["killed", "done", "done"]
    lock = Lock(runs[0] / ".lock")
    assert is_held(runs[0] / ".lock")
    # Of this very process the lock is another file description's: it counts as held.
    assert [one.state for one in listed(runs[:1])] == ["running"]
    lock.release()
    assert not is_held(runs[0] / ".lock")
    assert not is_held(runs[0] / "nothing")


def test_a_run_named_twice_is_listed_once_and_damage_is_no_obstacle(runs, workplace):
    (runs[1] / "run.json").write_text("{")
    (runs[2] / "metrics.jsonl").unlink()
    os.symlink(runs[0], workplace / "outputs" / "again")
    assert len(listed([workplace / "outputs", runs[0]])) == 3


def test_two_runs_differ_in_choices_settings_and_numbers(runs, capsys):
    found = json.loads(said(capsys, "diff", str(runs[0]), str(runs[1]), "--json"))
    what = {one["what"]: (one["first"], one["other"]) for one in found}
    assert what["inference"] == ("amortized", "svi")
    assert what["seed"] == ("0", "1")
    assert not any(name.endswith("_target_") for name in what)
    assert all("±" in end for end in what["test ELBO"])
    text = said(capsys, "diff", str(runs[0]), str(runs[1]))
    assert "inference" in text


def test_a_run_does_not_differ_from_itself_but_has_its_numbers(runs, capsys):
    found = json.loads(said(capsys, "diff", str(runs[0]), str(runs[0]), "--json"))
    assert found
    assert all(one["first"] == one["other"] for one in found)


def test_a_comparison_for_programs_has_the_columns_of_its_table(runs, capsys):
    found = json.loads(said(capsys, "compare", *map(str, runs[:2]), "out=there", "--json"))
    header = (runs[0].parents[2] / "there" / "comparison.csv").read_text().splitlines()[0]
    assert [list(one) for one in found] == [header.split(",")] * 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["runs", "--sort", "boud"], "Did you mean bound?"),
        (["runs", "--sort"], "--sort takes a value, for example --sort bound"),
        (["runs", "--where", "svi"], "for example --where model=vae"),
        (["runs", "--frob"], "There is no flag --frob"),
        (["runs", "nothing"], "There is no folder nothing"),
        (["diff", "a"], "Which two runs?"),
        (["diff", "a", "b"], "a is not a run folder"),
        (["compare", "a", "--jsn"], "Did you mean --json?"),
    ],
)
def test_mistakes_are_told_in_a_sentence(words, sentence, workplace, capsys):
    assert run(words) == 2
    assert sentence in capsys.readouterr().err
