"""Early stopping: by paired differences and their noise, and the same after a resumption."""

import json

import numpy as np
import pytest

from avi.cli.main import run as avi
from avi.run.patience import Patience

ROWS = np.random.default_rng(0).standard_normal(50)
WORDS = (
    "dataset=file dataset.support=binary train.batch_size=20 train.eval_every=5 gap.num_points=0 "
    "train.report=false train.log_every=2 train.save_every=5 model.decoder.widths=[8] "
    "inference.network.widths=[8]"
).split()


def test_without_a_limit_nothing_is_counted():
    patience = Patience(None)
    for _ in range(9):
        patience.see(ROWS)
    assert not patience.over
    assert patience.kept() == ({}, {})


def test_noise_is_no_progress_and_slow_progress_adds_up():
    patience = Patience(3)
    noise = np.random.default_rng(1)
    for _ in range(3):
        patience.see(ROWS + 1e-3 * noise.standard_normal(50) - 1e-3)
    assert patience.since >= 2
    slow = Patience(3)
    swing = np.resize([1.0, -1.0], 50)
    for step in range(40):  # one step is within the noise of its rows, two are not
        slow.see(ROWS + 0.1 * step + swing * (-1) ** step)
        assert slow.since <= 1
    for _ in range(3):
        slow.see(ROWS)
    assert slow.over


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Work beside a file of few bits, which are soon learned by heart."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(2).integers(0, 2, (60, 12)).astype(np.uint8)
    np.save("bits.npy", rows)
    return tmp_path


def lines(run):
    return (run / "metrics.jsonl").read_text().splitlines()


def test_a_run_that_gets_no_better_ends_and_says_so(small, capsys):
    words = [*WORDS, "dataset.path=bits.npy", "optimizer.phi.learning_rate=0.03"]
    words.append("optimizer.theta.learning_rate=0.03")
    whole = [*words, "train.epochs=3000", "train.patience=2", "output=whole"]
    assert avi(["train", *whole]) == 0
    shown = capsys.readouterr().out.splitlines()
    record = json.loads((small / "whole" / "run.json").read_text())
    ended = [words for words in record["remarks"] if "train.patience" in words]
    assert len(ended) == 1
    assert ended[0] in shown
    assert [shown.count(words) for words in record["remarks"]] == [1] * len(record["remarks"])
    last = json.loads(lines(small / "whole")[-1])
    assert last["epoch"] < 3000
    assert f"Training ended after {last['epoch']} of 3000" in ended[0]
    # Of a run that was stopped before, the count goes on: it ends at the same step.
    first = [*words, "train.epochs=10", "train.patience=2", "output=parts"]
    assert avi(["train", *first]) == 0
    assert avi(["train", "resume=parts", "train.epochs=3000"]) == 0
    of_valid = [line for line in lines(small / "parts") if '"valid"' in line]
    assert of_valid == [line for line in lines(small / "whole") if '"valid"' in line]
    # Its best checkpoint starts another.
    other = [*words, "train.epochs=0", "train.start=whole", "output=other"]
    assert avi(["train", *other, "train.start_checkpoint=best"]) == 0
    best = max(json.loads(line)["value"] for line in of_valid)
    assert json.loads(lines(small / "other")[1])["value"] == best


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train.patience=0"], "must be 1 or more"),
        (["train.patience=2", "train.eval_every=0"], "Try train.eval_every=5"),
        (["train.start_checkpoint=best"], "train.start=<run>"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(words, sentence, capsys):
    assert avi(["train", *words]) == 2
    assert sentence in capsys.readouterr().err
