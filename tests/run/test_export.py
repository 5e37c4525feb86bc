"""`avi export` and `train.log`, on one small run of a file whose rows are shuffled into splits."""

import json
import sys

import numpy as np
import pytest
import xarray
from scipy import stats

import avi
from avi.cli.main import run as typed
from avi.gap.ledger import theta_sha256
from avi.results import lams, metrics, posterior
from avi.rundir import RunDir

WORDS = (
    "model=linear_gaussian model.latent_size=2 dataset=file inference.network.widths=[4] "
    "train.epochs=2 train.batch_size=16 gap.num_points=0 train.report=false"
).split()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with rows, a run on them that a tracker of one's own has seen, and its lam*."""
    folder = tmp_path_factory.mktemp("exported")
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(80, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVI_PLUGINS", "plugins")
        words = [*WORDS, f"dataset.path={folder / 'rows.npy'}", f"output={folder / 'run'}"]
        run = avi.train([*words, "train.log=plugins.trackers.keeping"])
    session, params, _ = run._opened
    last = session.spec.num_data + 8 + np.arange(8)  # ids of the test rows
    certified = lams.Lams(
        id=last[:3],
        lam=np.zeros((3, session.experiment.problem.family.num_params)),
        certificate=np.array([0.25, 0.5, 0.75]),
        certificate_se=np.array([0.01, 0.02, 0.03]),
        converged=np.array([True, False, True]),
        theta_sha256=np.frombuffer(theta_sha256(params), np.uint8),
    )
    lams.write(run.folder, certified)
    return folder


@pytest.fixture
def here(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv("AVI_PLUGINS", "plugins")
    return root


def test_a_tracker_sees_the_lines_of_the_run_and_is_left(here):
    *lines, last = map(json.loads, (here / "kept").read_text().splitlines())
    written = metrics.measured(RunDir.open(here / "run"))
    assert lines == [[line.split, line.step, line.value] for line in written]
    assert last == "left"


def test_draws_are_those_of_q_and_their_parts_add_up(here, capsys):
    assert typed(["export", "run=run", "to=arviz", "draws=400"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "8 rows of test, 400 draws each, from step 8", "run/export/test.nc",
    ]  # fmt: skip
    avi.infer("run", "out=inferred")
    q = posterior.read(here / "inferred")
    with xarray.open_datatree(here / "run/export/test.nc", engine="h5netcdf") as tree:
        z, per_row = tree.posterior.z[0].values, tree.sample_stats
        assert tree.posterior.row.values.tolist() == q.row.tolist()
        np.testing.assert_allclose(tree.observed_data.x, np.load("rows.npy")[q.row], rtol=1e-6)
        # lp = log p(x | z) + log N(z; 0, I), in single precision.
        prior = stats.norm.logpdf(z).sum(-1)
        np.testing.assert_allclose(
            tree.log_likelihood.x[0] + prior, per_row.lp[0], rtol=1e-5, atol=1e-4
        )
        log_q = stats.norm.logpdf(z, q.mean, q.standard_deviation).sum(-1)
        np.testing.assert_allclose(log_q, per_row.log_q[0], rtol=1e-4, atol=1e-4)
        # Means of draws within 5 standard errors, 16 of them: fails once in 100,000.
        error = q.standard_deviation / np.sqrt(400)
        assert np.abs((z.mean(0) - q.mean) / error).max() < 5
        weights = per_row.lp[0] - per_row.log_q[0]
        together = np.hypot(1 / np.sqrt(400), 1 / np.sqrt(posterior_draws())) * weights.std("draw")
        assert float((np.abs(weights.mean("draw") - per_row.bound) / together).max()) < 5
        assert np.isfinite(per_row.khat).all()
        assert per_row.certificate.values[:3].tolist() == [0.25, 0.5, 0.75]
        assert per_row.converged.values[:3].tolist() == [1, 0, 1]
        assert np.isnan(per_row.certificate[3:]).all()  # no report has searched these rows


def posterior_draws():
    from avi.run.posterior import DRAWS

    return DRAWS


def test_certificates_of_other_parameters_are_not_those_of_these(here):
    out = str(here / "first.nc")
    path = avi.export("run", "to=arviz", "checkpoint=0", "draws=25", "limit=3", f"out={out}")
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        assert tree.attrs["step"] == 0
        assert tree.posterior.sizes["row"] == 3
        assert "certificate" not in tree.sample_stats


def test_tables_hold_the_posterior_of_the_mode_as_it_is(here, capsys):
    assert typed(["export", "run=run", "to=csv", "out=tables"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [f"tables/{name}.csv" for name in ("posterior", "metrics")]
    avi.infer("run", "out=again", "certify=false")
    written = (here / "tables" / "posterior.csv").read_text()
    assert written == (here / "again" / "posterior.csv").read_text()


def test_events_go_where_they_are_wanted(here):
    path = avi.export(avi.load("run"), "to=tensorboard")
    assert path == here / "run/export/tensorboard/events.out.tfevents.avi"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("to=csv", "avi export run=outputs/train/<folder> to=arviz"),
        ("run=run", "avi export run=run to=csv"),
        ("run=run to=tensorbord", "Did you mean tensorboard?"),
        ("run=run to=csv draws=100", "draws=100 does nothing with to=csv"),
        ("run=run to=tensorboard split=test", "split=test does nothing with to=tensorboard"),
        ("run=run to=arviz out=here.zarr", "Try out=here.nc"),
        ("run=run to=arviz draws=5", "Try draws=1000"),
        ("run=run to=arviz draws=many", "expected a whole number"),
        ("run=run to=arviz draws=90000000", "Try draws=1000 limit=1"),
        ("run=run to=arviz draws=9000000", "Try limit=5"),
        ("run=run to=arviz checkpoint=3", "has no checkpoint of step 3; it has 0, 8"),
        ("run=. to=csv", "is not a run folder"),
    ],
)
def test_mistakes_are_told_in_a_sentence(words, sentence, here, capsys):
    assert typed(["export", *words.split()]) in (2, 4)
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_an_extra_is_asked_for_before_anything_is_computed(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "arviz_base", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert typed(["export", "run=run", "to=arviz"]) == 2
    assert "pip install 'avi[arviz]'" in capsys.readouterr().err
    assert typed(["train", *WORDS, "dataset.path=rows.npy", "output=not",
                  "train.log=tensorboard"]) == 2  # fmt: skip
    assert "pip install 'avi[tensorboard]'" in capsys.readouterr().err
    assert not (here / "not").exists()
