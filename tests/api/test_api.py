"""avi in Python: the page that tells of it runs, and its numbers are those of the commands."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import avi
from avi.cli import main
from avi.errors import ConfigError, DataError, Refusal
from avi.results import posterior

PAGE = Path(__file__).parents[2] / "docs" / "in-python.md"
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
TINY = ["train.epochs=2", "gap.num_points=0", "model.latent_size=2", "model.decoder.widths=[8]"]


def test_the_page_runs_as_written(workplace):
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=FLAGS)
    assert found.attempted > 10
    assert found.failed == 0


def test_importing_avi_costs_milliseconds_and_no_jax():
    program = "import sys, avi; assert not {'jax', 'numpy', 'hydra'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    program = "import sys, avi; avi.load, avi.train; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    table = np.random.default_rng(0).standard_normal((60, 3))
    table[::7, 1] = np.nan
    np.save(folder / "rows.npy", table)
    on_file = ["dataset=file", f"dataset.path={folder / 'rows.npy'}", "train.batch_size=null"]
    words = {
        "encoder": ["inference.network.widths=[8]", *TINY],
        "table": ["inference=free_form", "inference.refine.steps=20", *TINY],
        "double": ["precision=float64", "inference.network.widths=[8]", *TINY],
        "missing": ["model=linear_gaussian", *on_file, "dataset.missing=mask", *TINY[:3]],
        "mixture": ["model=mixture", "dataset=linear_gaussian", *TINY[:2]],
        "groups": ["model=normal_hierarchy", "dataset=normal_hierarchy", *TINY[:2]],
    }
    return {name: avi.train([*given, f"output={folder / name}"]) for name, given in words.items()}


@pytest.mark.parametrize("name", ["encoder", "table", "double"])
def test_posteriors_and_bounds_are_those_of_infer(name, runs, tmp_path):
    x = runs[name].sample(6).x
    np.save(tmp_path / "new.npy", x)
    words = (f"data={tmp_path / 'new.npy'}", f"out={tmp_path / 'there'}", "certify=false")
    found = avi.infer(runs[name], *words)
    written = posterior.read(tmp_path / "there")
    q = runs[name].posterior(x, certify=False)
    for one in (found, written):
        np.testing.assert_allclose(q.mean, one.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(q.sd, one.standard_deviation, rtol=1e-5)
        np.testing.assert_allclose(runs[name].bound(x), one.bound, rtol=1e-5)
        np.testing.assert_allclose(q.bound, one.bound, rtol=1e-5)
    assert written.source is None
    single = runs[name].posterior(x[2], certify=False)
    assert single.mean.shape == (1, 2)


def test_a_q_is_judged_as_by_infer_and_its_file_says_the_same(runs, tmp_path):
    """One row as the model draws it, one of noise, one that training never saw the like of."""
    run = runs["encoder"]
    noise = np.random.default_rng(0).integers(0, 2, 64)
    x = np.stack([*run.sample(1).x, noise, np.ones(64)])
    np.save(tmp_path / "new.npy", x)
    asked = {"tolerance": 0.2, "budget": 20_000, "psis": True}
    q = run.posterior(x, **asked, decoded=True)
    words = [f"{name}={value}" for name, value in asked.items()]
    places = (f"data={tmp_path / 'new.npy'}", f"out={tmp_path / 'there'}")
    found = avi.infer(run, *places, *words, "draws=3")
    written = posterior.read(tmp_path / "there")
    for one in (found, written):
        assert (one.source, one.flags) == (q.source, q.flags)
        np.testing.assert_allclose(one.lam, q.lam, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.certificate, q.certificate, rtol=1e-2, atol=1e-4)
        np.testing.assert_allclose(one.bound, q.bound, rtol=1e-5)
        for name, array in one.more.items():
            np.testing.assert_allclose(array, q.more[name], rtol=1e-3, atol=1e-4)
    assert set(written.more) == set(q.more) - {"decoded"}
    assert [bool(why) for why in q.flags] == [source == "flagged" for source in q.source]
    own = run.posterior(x, certify=False)
    # Whatever was refined is better than what the encoder gave.
    moved = (q.lam != own.lam).any(axis=1)
    assert np.all(q.bound[moved] > own.bound[moved])
    assert np.all(np.array(q.source)[moved] != "accepted")
    with np.load(tmp_path / "there" / "draws.npz") as file:
        assert file["draws"].shape == (3, 3, 2)


def test_a_run_computes_in_its_own_precision_and_leaves_jax_as_it_was(runs):
    x = runs["encoder"].sample(3).x
    assert runs["encoder"].sample(3).z.dtype == np.float32
    assert runs["double"].sample(3).z.dtype == np.float64
    assert not jax.config.read("jax_enable_x64")
    assert runs["encoder"].posterior(x, certify=False).mean.shape == (3, 2)


def test_draws_have_the_moments_of_the_posterior(runs):
    x = runs["encoder"].sample(2).x
    q = runs["encoder"].posterior(x, draws=20_000, seed=3, certify=False)
    # A z-score beyond 5 happens in 6 of 10 million.
    assert np.abs((q.draws.mean(1) - q.mean) / (q.sd / np.sqrt(20_000))).max() < 5
    assert np.abs(q.draws.std(1) / q.sd - 1).max() < 5 / np.sqrt(2 * 20_000)


def test_missing_entries_categories_and_structured_rows(runs):
    x = np.array([0.3, np.nan, -1.0])
    q = runs["missing"].posterior(x, decoded=True, impute=True)
    assert np.isfinite(q.mean).all()
    assert np.isfinite(q.more["decoded"]).all()  # of what is missing, too
    imputed, seen = q.more["imputed"], np.isfinite(x)
    np.testing.assert_array_equal(np.ravel(imputed)[np.ravel(seen)], np.ravel(x)[np.ravel(seen)])
    np.testing.assert_array_equal(np.isnan(q.more["imputed_low"]).ravel(), np.ravel(seen))
    assert not np.array_equal(q.mean, runs["missing"].posterior([0.3, 0.0, -1.0]).mean)
    components = runs["mixture"].posterior(runs["mixture"].sample(4).x, draws=5)
    assert set(components.source) <= {"accepted", "refined"}  # the exact posterior is known
    np.testing.assert_allclose(components.mean.sum(1), 1, rtol=1e-5)
    assert components.draws.shape == (4, 5)
    drawn = runs["groups"].sample(4).x
    assert runs["groups"].posterior(drawn, certify=False).mean.shape == (4, 6)
    with pytest.raises(DataError, match="structure of training"):
        runs["groups"].posterior(drawn["value"])


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, 3)), "expected 64 numbers a row, as in training; got 3"),
        (np.full(64, 0.5), "expected only 0 and 1"),
        (np.full(64, np.nan), "expected finite numbers"),
        ("rows", "expected numbers"),
        (np.zeros((2, 32)), "expected 64 numbers a row, as in training; got 32"),
        (np.zeros((64, 1)), "expected 64 numbers a row, as in training; got 1"),
        (np.zeros(64) + 0j, "masked or a complex"),
        (np.ma.masked_array(np.zeros(64)), "masked or a complex"),
        (None, "expected numbers"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(x, said, runs):
    with pytest.raises(DataError, match=said):
        runs["encoder"].posterior(x)


def test_what_is_not_there_is_said(runs, tmp_path):
    with pytest.raises(ConfigError, match="is not a run folder"):
        avi.load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no gap report: try avi gap"):
        runs["encoder"].figure("gap")
    with pytest.raises(ConfigError, match="the figures are elbo and gap"):
        runs["encoder"].figure("bound")
    with pytest.raises(ConfigError, match="has no mean of x given z"):
        runs["groups"].decode(np.zeros(6))
    with pytest.raises(Refusal, match="Did you mean"):
        avi.train(["train.epoch=3"])
    with pytest.raises(ConfigError, match="There is no folder"):
        avi.compare([tmp_path / "nothing"])
    with pytest.raises(AttributeError):
        avi.nothing  # noqa: B018


BAD = {
    "a folder that is none": (lambda run: avi.load(3), "expected a run or the path of a folder; g"),
    "a checkpoint": (lambda run: avi.load(run.folder, "newest"), "expected a step, best, or None"),
    "a seed": (lambda run: run.sample(1, seed="x"), "seed must be a whole number"),
    "text for x": (lambda run: run.bound("x"), "x: expected numbers"),
    "lines of two lengths": (lambda run: run.bound([[1, 0], [1]]), "x: expected numbers"),
    "no rows": (lambda run: run.bound(np.zeros((0, 64))), "x: expected numbers"),
    "text for z": (lambda run: run.decode("z"), r"z: expected finite numbers, \[2\] or"),
    "a tolerance": (lambda run: run.posterior([0] * 64, tolerance="a"), "tolerance: expected a"),
    "a budget": (lambda run: run.posterior([0] * 64, budget=2.5), "budget: expected an integer"),
    "a setting": (lambda run: run.posterior([0] * 64, tolerence=1), "Did you mean tolerance"),
    "a figure": (lambda run: run.figure(["elbo"]), "the figures are elbo and gap"),
    "a word of gap": (lambda run: run.gap(3), "expected words such as"),
    "a word of infer": (lambda run: avi.infer(run, ["limit=3"]), "expected words such as"),
    "a run": (lambda run: avi.gap(None), "expected a run or the path of a folder; got None"),
    "a run to calibrate": (lambda run: avi.calibrate(7), "expected a run or the path"),
    "words in one text": (lambda run: avi.train("model=vae"), "expected words such as"),
    "no words": (lambda run: avi.import_weights(None), "expected words such as"),
    "one run to compare": (lambda run: avi.compare(run), "expected a list of runs"),
    "no run to compare": (lambda run: avi.compare([]), "The list is empty"),
    "a place": (lambda run: avi.compare([run], out=3), "out: expected a run or the path"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_call_of_the_wrong_type_is_refused_in_a_sentence(name, runs):
    call, said = BAD[name]
    with pytest.raises(Refusal, match=said):
        call(runs["encoder"])


def test_a_run_is_calibrated_as_by_the_command(runs):
    words = ("calibrate.num_points=20", "calibrate.search=false")
    found = avi.calibrate(runs["encoder"], *words)
    assert (found.n, found.best) == (20, None)
    assert avi.load(runs["encoder"].folder).record.calibration.own == found.own


@pytest.mark.parametrize("number", [-1, 2.5, "3", True])
def test_numbers_of_draws_are_whole(number, runs):
    with pytest.raises(ConfigError, match="n must be a whole number"):
        runs["encoder"].sample(number)
    with pytest.raises(ConfigError, match="draws must be a whole number"):
        runs["encoder"].posterior(np.zeros(64), draws=number)


@pytest.mark.parametrize("z", [np.zeros(3), np.zeros((2, 2, 2)), [np.nan, 0.0]])
def test_latents_of_another_shape_are_refused(z, runs):
    with pytest.raises(DataError, match=r"expected finite numbers, \[2\] or \[n, 2\]"):
        runs["encoder"].decode(z)


def test_a_run_is_found_from_another_folder(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(runs["encoder"].folder.parent)
    run = avi.load("encoder")
    monkeypatch.chdir(tmp_path)
    assert run.posterior(np.zeros(64), certify=False).mean.shape == (1, 2)


def test_a_report_is_in_the_record_at_once(runs):
    run = avi.load(runs["mixture"].folder)
    assert run.record.gap is None
    report = run.gap("gap.splits=[test]", "gap.num_points=10", "gap.frontier=0")
    assert run.record.gap.splits["test"].n == report.splits["test"].n == 10


def test_a_report_as_json_is_all_that_is_printed(runs, capsys):
    words = "gap.splits=[test] gap.num_points=10 gap.frontier=0 evidence=exact --json".split()
    assert main.run(["gap", f"run={runs['mixture'].folder}", *words]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["splits"]["test"]["n"] == 10
    assert (found["against"], found["ladder"]) == (None, None)


def test_a_run_says_what_it_is(runs):
    said = repr(runs["encoder"])
    assert said.startswith(f"Run({runs['encoder'].folder}): Test ELBO")
    assert "Test ELBO" in runs["encoder"]._repr_html_()
    assert runs["encoder"].checkpoint is None
    early = avi.load(runs["encoder"].folder, checkpoint=0)
    x = runs["encoder"].sample(2).x
    assert not np.allclose(early.bound(x), runs["encoder"].bound(x))
