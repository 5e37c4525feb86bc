"""Runs that an earlier version wrote, in tests/data/runs, still resume, gap, infer and compare."""

import csv
import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from avi.cli import main
from avi.run.session import open_session
from avi.rundir.bounded import read_tree

RUNS = Path(__file__).resolve().parent / "data" / "runs"
KINDS = ("vae", "lda", "free_form")
SEVERAL = [*itertools.combinations(KINDS, 2), KINDS]
EPOCHS = 4  # that each was trained
QUICK = "evidence=quick gap.audit=0 gap.frontier=0 gap.simulated=0 gap.num_points=3".split()


@pytest.fixture(autouse=True)
def runs(workplace):
    """Work in a folder with copies of all runs and of the file that one was trained on."""
    shutil.copytree(RUNS, workplace, dirs_exist_ok=True)
    return workplace


def table(path):
    """Return the columns of a csv file by name."""
    header, *rows = csv.reader(path.read_text().splitlines())
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def record(run):
    return json.loads((run / "run.json").read_text())


def lines(run):
    return (run / "metrics.jsonl").read_bytes().splitlines()


def summary(run):
    return json.loads((run / "gap" / "summary.json").read_text())["splits"]


def bound(run):
    """Return the bound on the test rows, with which a run ends."""
    return json.loads(lines(run)[-1])["value"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_old_run_resumes_after_the_lines_it_had(runs, kind):
    run, steps = runs / kind, record(runs / kind)["steps_per_epoch"]
    *before, final = lines(run)
    assert json.loads(final)["split"] == "test"  # the last word of a run: it moves to the new end
    assert main.run(["train", f"resume={kind}", f"train.epochs={EPOCHS + 2}", "gap.audit=0"]) == 0
    after = lines(run)
    assert after[: len(before)] == before
    ends = [(line["epoch"], line["split"]) for line in map(json.loads, after[-3:])]
    assert ends == [(EPOCHS + 2, split) for split in ("valid", "train", "test")]
    saved = sorted(folder.name for folder in (run / "checkpoints").iterdir())
    assert saved == [f"{epochs * steps:08d}" for epochs in (EPOCHS, EPOCHS + 2)]
    assert record(run)["status"] == "done"
    assert [start["step"] for start in record(run)["starts"]] == [0, EPOCHS * steps]
    assert (run / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_bounds_of_an_old_run_are_measured_as_they_were(runs, kind):
    run, points = runs / kind, runs / kind / "gap" / "points.csv"
    before = table(points)
    points.unlink()
    assert main.run(["gap", f"run={kind}", *QUICK]) == 0
    after = table(points)
    # Each under the name that it has in the user's own data, which avi 0.1 did not know.
    origin = open_session(read_tree(run / "config.yaml")).splits.origin
    own = origin.rows_of(np.array(before["row"], int)).tolist()
    assert sorted(zip(own, before["split"], strict=True)) == sorted(
        zip(map(int, after["row"]), after["split"], strict=True)
    )
    # The same rows, parameters and draws: another machine only adds up float32 in another order.
    then = np.array(before["bound"], float)[np.argsort(own)]
    now = np.array(after["bound"], float)[np.argsort(np.array(after["row"], int))]
    np.testing.assert_allclose(now, then, rtol=1e-5)
    assert {split: one["n"] for split, one in summary(run).items()} == Counter(after["split"])
    assert (run / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_old_run_infers_finite_posteriors_of_its_family(runs, kind):
    assert main.run(["infer", f"run={kind}", "split=train", "limit=3", "certify=false"]) == 0
    found = table(runs / kind / "infer" / "train" / "posterior.csv")
    size = record(runs / kind)["params_per_datapoint"]
    assert sum(name.startswith("lam") for name in found) == size
    assert len(set(found["row"])) == 3
    assert np.isfinite(np.array([*found.values()], float)).all()
    assert (runs / kind / "infer" / "train" / "posterior.npz").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("kinds", SEVERAL, ids="-".join)
def test_old_runs_are_compared_side_by_side(runs, kinds):
    assert main.run(["compare", *kinds, "out=beside"]) == 0
    found = table(runs / "beside" / "comparison.csv")
    assert found["folder"] == kinds
    assert [float(value) for value in found["test_bound"]] == [bound(runs / one) for one in kinds]
    # That of a table is of its own rows, those of training.
    own = {"free_form": "train"}
    expected = [
        summary(runs / one)[own.get(one, "test")]["amortization_gap"]["mean"] for one in kinds
    ]
    assert [float(value) for value in found["gap"]] == expected
    for ending in ("md", "png", "html"):
        assert (runs / "beside" / f"comparison.{ending}").is_file()
