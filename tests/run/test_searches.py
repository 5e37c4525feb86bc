"""What the searches for rows outside a table still lack, against the closed form."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import optax
import pytest
from gap.gaussian_case import LATENT, make_case, truth

from avi.cli.main import run as avi
from avi.families.gaussian import DiagonalGaussian
from avi.inference.free_form import FreeForm
from avi.population import Points
from avi.refine.ascent import Ascent
from avi.results.record import UNKNOWN, Value
from avi.run.recorder import Recorder
from avi.run.searches import ROWS, left_to_gain

Z = 4.75  # two-sided false alarm 2e-6 for a normal statistic
NUM_DATA = 60  # rows of the table: ids from here on are of others


@pytest.fixture(scope="module")
def case():
    mode = FreeForm(Ascent(optax.adam(0.03), steps=10, average=False))
    return make_case(DiagonalGaussian(LATENT), mode, phi=np.zeros((NUM_DATA, 2 * LATENT)))


def searched(case, mode=None):
    problem = case.experiment.problem
    problem = dataclasses.replace(problem, inference=mode or problem.inference)
    experiment = dataclasses.replace(case.experiment, problem=problem)
    return SimpleNamespace(experiment=experiment, spec=SimpleNamespace(num_data=NUM_DATA))


def near_the_top(case, rows):
    """Return the optimum of each row, moved a little."""
    theta = case.params.theta
    scale = np.exp(np.asarray(theta["log_scale"], np.float64))
    weight = np.asarray(theta["weight"], np.float64) / scale[:, None]
    precision = np.eye(LATENT) + weight.T @ weight
    means = (rows / scale) @ weight @ np.linalg.inv(precision)
    lams = np.hstack([means, np.tile(-0.5 * np.log(np.diag(precision)), (len(rows), 1))])
    return lams + 0.02 * np.random.default_rng(0).standard_normal(lams.shape)


def test_what_is_left_is_the_distance_to_the_best_bound(case):
    rows = np.asarray(case.splits.test)
    points = Points(rows, NUM_DATA + 5 + np.arange(len(rows)))
    lams = near_the_top(case, rows)
    left = left_to_gain(searched(case), case.params, points, lams)
    exact = truth(case, rows, lams).amortization
    # A Newton decrement errs by the third order of the distance.
    assert left.mean == pytest.approx(exact.mean(), abs=Z * left.se + 0.05 * exact.mean())
    assert len(rows) <= ROWS


def test_rows_of_the_table_have_no_search(case):
    rows = np.asarray(case.splits.test)
    points, lams = Points(rows, np.arange(len(rows))), near_the_top(case, rows)
    assert left_to_gain(searched(case), case.params, points, lams) == UNKNOWN
    encoder = make_case(DiagonalGaussian(LATENT)).experiment.problem.inference
    beyond = Points(rows, points.ids + NUM_DATA)
    assert left_to_gain(searched(case, encoder), case.params, beyond, lams) == UNKNOWN


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (Value(0.001, 0.0005), ""),
        (Value(3.8, 0.6), "; search 3.8 short"),
        (Value(0.005, 0.02), "; search 0.005 short"),
        (UNKNOWN, "; search end unknown"),
    ],
)
def test_a_search_that_fell_short_is_said_in_the_line_of_its_bound(left, said, monkeypatch):
    problem = SimpleNamespace(
        bound_name="ELBO",
        gradient_evaluations=lambda: 3,
        inference=SimpleNamespace(per_datapoint=True),
    )
    experiment = SimpleNamespace(
        problem=problem,
        train=SimpleNamespace(log_every=4),
        gap=SimpleNamespace(tolerance=0.01),
    )
    session = SimpleNamespace(batch_size=8, steps_per_epoch=5, experiment=experiment)
    recorder = Recorder(session, SimpleNamespace(read_run=dict))
    lines = [
        recorder.line(10, split, np.array([-3.0, -4.0]), left if split == "test" else UNKNOWN)
        for split in ("train", "test")
    ]
    monkeypatch.setattr("avi.results.metrics.measured", lambda run: lines)
    of_train, of_test = recorder.summary()
    assert of_train.endswith("n = 2")
    assert of_test.endswith(f"n = 2{said}")
    assert max(map(len, (of_train, of_test))) <= 80


def test_infer_says_how_far_its_searches_fell_short(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = (
        "model=linear_gaussian dataset=linear_gaussian dataset.num_train=40 dataset.num_valid=10 "
        "dataset.num_test=10 train.epochs=2 train.report=false gap.num_points=0 output=run "
        "inference=free_form inference.refine.steps=2"
    )
    assert avi(["train", *words.split()]) == 0
    np.save("far.npy", np.full((4, 10), 100.0))
    said = {}
    for word in ("data=far.npy", "split=test", "split=train"):
        capsys.readouterr()
        assert avi(["infer", "run=run", word, "certify=false"]) == 0
        said[word] = next(x for x in capsys.readouterr().out.splitlines() if "draws each" in x)
    assert said["split=train"].endswith("draws each")  # a table has searched for nothing
    short = [float(said[word].split("; search ")[1].split()[0]) for word in list(said)[:2]]
    assert short[0] > short[1] > 0.01
