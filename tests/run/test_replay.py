"""Replaying a run: to the bit where bits are promised, in standard errors elsewhere."""

import json

import pytest

from avi.cli.main import run as avi
from avi.errors import ValidityError
from avi.results.metrics import MetricsLine
from avi.run import replay

WORDS = (
    "model=linear_gaussian dataset=linear_gaussian dataset.num_train=40 dataset.num_valid=10 "
    "dataset.num_test=10 train.batch_size=20 train.epochs=2 train.log_every=1 train.report=false "
    "gap.num_points=0 output=run"
).split()


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Return the folder of a finished run."""
    monkeypatch.chdir(tmp_path)
    assert avi(["train", *WORDS]) == 0
    return tmp_path / "run"


def forge(run, move):
    """Move the last number of the record."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    last["value"] += move * last["standard_error"]
    (run / "metrics.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")


def facts(run, **changed):
    """Change facts of the record."""
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_a_run_repeats_its_bits_and_is_left_as_it_was(finished, capsys):
    assert json.loads((finished / "run.json").read_text())["bit_exact"] is True
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert avi(["replay", f"run={finished}"]) == 0
    assert "are the same to the bit" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_a_forged_number_is_found_and_noise_is_not_taken_for_one(finished, capsys):
    forge(finished, 0.5)
    assert avi(["replay", f"run={finished}"]) == 10
    assert "is another number" in capsys.readouterr().err
    facts(finished, device="cpu, 64 cores")  # another machine's record: no bits are promised
    assert avi(["replay", f"run={finished}"]) == 0
    assert "no bits were promised" in capsys.readouterr().out
    forge(finished, 20)
    assert avi(["replay", f"run={finished}"]) == 10
    assert "more than 3 standard errors away on test" in capsys.readouterr().err


def test_an_unfinished_run_is_refused_with_what_to_type(finished, capsys):
    facts(finished, status="interrupted")
    assert avi(["replay", f"run={finished}"]) == 2
    assert f"Try avi train resume={finished}" in capsys.readouterr().err


def test_a_line_that_only_one_of_the_two_has_is_no_match():
    line = MetricsLine(1, 1, "test", 1, -1.0, 0.1, 10)
    with pytest.raises(ValidityError, match="1 line .* is in one .* first test at step 1"):
        replay.paired([line], [])
