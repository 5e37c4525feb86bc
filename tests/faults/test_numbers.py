"""A number that is not finite ends the run at once; what is known of it lies in a file."""

import csv
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from faults.hooks import (
    infinite_evaluation,
    missing_value,
    step_to_infinity,
    without_report,
)
from faults.processes import MODES, TINY, avi

from avi.randomness import key_for
from avi.run.postmortem import Postmortem
from avi.run.remarks import repeated
from avi.rundir import RunDir, checkpoints
from avi.types import Origin, Splits

BATCH = 20


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(125, 4)).astype(np.float32)


def of_file(folder, rows):
    folder.mkdir(exist_ok=True)
    np.save(folder / "rows.npy", rows)
    own = ["dataset=file", "dataset.path=rows.npy", "dataset.shuffle=false"]
    own.append("dataset.standardize=none")  # numbers as they are
    more = [f"train.batch_size={BATCH}", "train.epochs=3"]
    return ["train", "output=run", *own, *TINY, *MODES["amortized"], *more]


def test_a_bad_row_stops_the_run_at_its_first_step_and_is_dumped(rows, tmp_path):
    ended = avi(of_file(tmp_path, rows), tmp_path, (without_report, missing_value))
    assert ended.process.exitcode == 5, ended.output
    run = RunDir.open(tmp_path / "run")
    with np.load(run.path / "nan_dump.npz", allow_pickle=False) as dump:
        step = int(dump["step"])
        assert step < 5  # an epoch has five steps, one of which holds row 3
        assert 3 in dump["rows"]
        assert len(dump["rows"]) == BATCH
        step_key, _ = jax.random.split(key_for(0, "train"))
        assert (dump["key"] == jax.random.key_data(jax.random.fold_in(step_key, step))).all()
        assert len(dump["names"]) == len(dump["norms"]) > 0
    assert all(np.isfinite(line["value"]) and line["step"] <= step for line in run.metrics())
    assert f"not finite at step {step}" in ended.output
    assert "the last good checkpoint is step 0" in ended.output.lower()
    assert run.read_run()["status"] == "failed"
    assert all(np.isfinite(a).all() for a in checkpoints.load(run).arrays.values())


def test_damaged_data_are_named_and_no_smaller_step_is_offered(rows, tmp_path):
    damaged = rows.copy()
    damaged[3, 1] = 1e30
    ended = avi(of_file(tmp_path, damaged), tmp_path, (without_report,))
    assert ended.process.exitcode == 5, ended.output
    assert "1e+30 at row 3" in ended.output
    assert "learning_rate" not in ended.output
    # Their mean is the start of the decoder: no row's bound is finite, and none is to blame.
    assert f"the {BATCH} rows of that step" in ended.output


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ([-1.0, np.nan, -2.0], "row 11"),
        ([-np.inf, -1.0, np.nan], "rows 10, 12"),
        ([-1.0, -1.0, -1.0], "the 3 rows of that step"),
        ([np.nan, np.nan, np.nan], "the 3 rows of that step"),
    ],
)
def test_a_row_is_blamed_only_if_its_own_bound_is_not_finite(bounds, words):
    session = SimpleNamespace(
        splits=SimpleNamespace(train=np.zeros((9, 2)), origin=Origin(10 + np.arange(9))),
        experiment=SimpleNamespace(seed=0),
        evaluator=lambda: SimpleNamespace(bounds=lambda *_: np.array(bounds)),
    )
    assert Postmortem(session, None, None)._blamed(None, np.arange(3)) == words


def test_a_variance_beyond_the_range_of_float32_ends_with_5(rows, tmp_path):
    ended = avi(of_file(tmp_path, rows * 1e11), tmp_path, (without_report,))
    assert ended.process.exitcode == 5, ended.output
    assert "its variance" in ended.output


def test_a_step_too_large_ends_with_5_and_good_checkpoints_only(rows, tmp_path):
    words = of_file(tmp_path, rows)
    # Without clipping by anything, 1e38 leaves the range of float32 within a few steps.
    ended = avi([*words, "optimizer.theta.learning_rate=1e38"], tmp_path, (without_report,))
    assert ended.process.exitcode == 5, ended.output
    assert "Try optimizer.theta.learning_rate=" in ended.output
    run = RunDir.open(tmp_path / "run")
    for step in checkpoints.steps(run):
        assert all(np.isfinite(a).all() for a in checkpoints.load(run, step).arrays.values())


def test_parameters_that_are_not_finite_are_not_saved_but_dumped(rows, tmp_path):
    ended = avi(of_file(tmp_path, rows), tmp_path, (without_report, step_to_infinity))
    assert ended.process.exitcode == 5, ended.output
    with np.load(tmp_path / "run" / "nan_dump.npz", allow_pickle=False) as dump:
        step = int(dump["step"])
        assert f"is not finite after step {step + 1}. run/nan_dump.npz holds" in ended.output
        assert len(set(dump["rows"])) == BATCH
        step_key, _ = jax.random.split(key_for(0, "train"))
        assert (dump["key"] == jax.random.key_data(jax.random.fold_in(step_key, step))).all()
        assert not np.isfinite(dump["norms"]).any()
    assert checkpoints.steps(RunDir.open(tmp_path / "run")) == [0]


def test_a_held_out_bound_that_is_not_finite_is_dumped(rows, tmp_path):
    words = [*of_file(tmp_path, rows), "train.eval_every=1", "train.eval_points=1000"]
    ended = avi(words, tmp_path, (without_report, infinite_evaluation))
    assert ended.process.exitcode == 5, ended.output
    with np.load(tmp_path / "run" / "nan_dump.npz", allow_pickle=False) as dump:
        (row,) = dump["rows"]
        assert str(dump["split"]) == "valid"
        assert f"The bound of 1 valid row is not finite (row {row})" in ended.output
        assert (dump["key"] == jax.random.key_data(key_for(0, "evaluate"))).all()
        assert np.isfinite(dump["norms"]).all()
        assert np.flatnonzero(~np.isfinite(dump["value"])).tolist() == [1]


@pytest.mark.parametrize("shared", [0, 2])
def test_test_rows_that_were_trained_on_are_remarked(shared):
    class Session:
        splits = Splits(np.eye(4), np.zeros((0, 4)), np.vstack([np.eye(4)[:shared], [[7.0] * 4]]))

        @staticmethod
        def points(split):
            return getattr(Session.splits, split)

    expected = ["2 of the 3 test rows are also training rows."] if shared else []
    assert repeated(Session) == expected


SMALL_GAP = (
    "gap.num_points=4 gap.num_draws=20 gap.width=2 gap.splits=[test] gap.search_draws=4"
    " gap.budget=400 gap.seconds=null gap.audit=0"
).split()


@pytest.fixture
def gaps(tmp_path):
    """Save rows around a line with a fifth of the entries missing; row 3 lacks column 1."""
    draws = np.random.default_rng(1)
    rows = draws.normal(size=(200, 1)) @ draws.normal(size=(1, 4)) + draws.normal(size=(200, 4))
    rows[draws.random(rows.shape) < 0.2] = np.nan
    rows[:3], rows[3, 1] = 0.0, np.nan
    np.save(tmp_path / "rows.npy", rows)
    return rows


def masked_words(model, *more):
    own = ["dataset=file", "dataset.path=rows.npy", f"model={model}"]
    return ["train", "output=run", *own, *MODES["amortized"], f"train.batch_size={BATCH}", *more]


def test_missing_values_are_refused_by_place_unless_the_model_leaves_them_out(gaps, tmp_path):
    refused = avi(masked_words("linear_gaussian"), tmp_path)
    assert refused.process.exitcode == 7, refused.output
    assert "rows.npy: expected finite numbers, found a missing value at row 3, column 1" in (
        refused.output
    )
    assert "dataset.missing=mask" in refused.output
    refused = avi(masked_words("mixture", "dataset.missing=mask"), tmp_path)
    assert refused.process.exitcode == 2, refused.output
    assert "Try model=vae with likelihood=gaussian" in refused.output
    gaps[7, 2] = np.inf
    np.save(tmp_path / "rows.npy", gaps)
    refused = avi(masked_words("linear_gaussian", "dataset.missing=mask"), tmp_path)
    assert refused.process.exitcode == 7, refused.output
    assert "found inf at row 7, column 2" in refused.output
    assert not (tmp_path / "run").exists()


def test_missing_values_are_left_out_from_training_to_posterior(gaps, tmp_path):
    words = masked_words("linear_gaussian", "dataset.missing=mask", "train.epochs=20", *SMALL_GAP)
    trained = avi(words, tmp_path)
    assert trained.process.exitcode == 0, trained.output
    with (tmp_path / "run/gap/points.csv").open() as file:
        points = list(csv.DictReader(file))
    assert len(points) == 4
    # The best q of a linear-Gaussian model is its posterior, whose bound is the evidence of what
    # was seen: what is left is the search's tolerance.
    for point in points:
        assert abs(float(point["approximation_gap"])) < 0.05
    # An observation of which nothing is known: the posterior is the prior, the evidence is 0.
    (tmp_path / "mine.csv").write_text("1.5,,-0.5,NA\n,,,\n")
    inferred = avi(["infer", "run=run", "data=mine.csv", "certify=false"], tmp_path)
    assert inferred.process.exitcode == 0, inferred.output
    with (tmp_path / "run/infer/mine/posterior.csv").open() as file:
        seen, unseen = csv.DictReader(file)
    assert all(np.isfinite([float(value) for value in seen.values()]))
    assert float(unseen["bound"]) <= 0
    (tmp_path / "taken").touch()
    refused = avi(["infer", "run=run", "data=mine.csv", "out=taken"], tmp_path)
    assert refused.process.exitcode == 6, refused.output
    assert "avi: Cannot write taken: File exists" in refused.output
