"""What is written for other tools is read back by these tools, to the last digit that they keep."""

import csv
import json
import sys

import numpy as np
import pytest
import xarray
from report.conftest import write_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from avi.errors import ConfigError
from avi.exports import arviz, tables, tensorboard
from avi.exports.extra import imported
from avi.results import points
from avi.results.metrics import MetricsLine
from avi.results.run import read
from avi.rundir import RunDir

ROWS, DRAWS, SIZE = 5, 30, 2


def drawn(*, categories=False, likelihood=True, x_shape=(4,), names=False):
    """Return draws in which every number is another one."""
    some = np.random.default_rng(0)
    shape = (ROWS, DRAWS)
    return arviz.Drawn(
        row=np.array(list("vwxyz")) if names else np.array([7, 3, 11, 2, 5]),
        z=some.integers(0, 3, shape) if categories else some.normal(size=(*shape, SIZE)),
        log_joint=some.normal(size=shape),
        log_q=some.normal(size=shape),
        log_likelihood=some.normal(size=shape) if likelihood else None,
        x=None if x_shape is None else some.normal(size=(ROWS, *x_shape)),
        statistics={"certificate": arviz.Statistic(np.array([0.1, np.nan, 0, 1, 2]), "nats")},
    )


def test_a_file_holds_every_draw_under_its_row(tmp_path):
    given = drawn()
    path = arviz.write(tmp_path / "new" / "draws.nc", given, {"split": "test", "step": 3})
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        assert (tree.attrs["split"], tree.attrs["step"]) == ("test", 3)
        assert tree.posterior.sizes == {"chain": 1, "draw": DRAWS, "row": ROWS, "latent": SIZE}
        assert set(tree.sample_stats.data_vars) == {"lp", "log_q", "certificate"}
        assert tree.sample_stats.certificate.dims == ("row",)
        assert tree.sample_stats.certificate.attrs == {"description": "nats"}
        for place, row in enumerate(given.row):
            at = {"chain": 0, "row": row}
            np.testing.assert_array_equal(tree.posterior.z.sel(at), given.z[place])
            np.testing.assert_array_equal(tree.sample_stats.lp.sel(at), given.log_joint[place])
            np.testing.assert_array_equal(tree.sample_stats.log_q.sel(at), given.log_q[place])
            np.testing.assert_array_equal(
                tree.log_likelihood.x.sel(at), given.log_likelihood[place]
            )
            np.testing.assert_array_equal(tree.observed_data.x.sel(row=row), given.x[place])
        np.testing.assert_array_equal(
            tree.sample_stats.certificate, given.statistics["certificate"].values
        )


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({"categories": True}, {"posterior", "sample_stats", "log_likelihood", "observed_data"}),
        ({"likelihood": False}, {"posterior", "sample_stats", "observed_data"}),
        ({"x_shape": None}, {"posterior", "sample_stats", "log_likelihood"}),
        ({"x_shape": (2, 3), "names": True}, {"posterior", "sample_stats", "log_likelihood",
                                              "observed_data"}),
    ],
)  # fmt: skip
def test_what_a_model_does_not_have_is_left_out(options, groups, tmp_path):
    given = drawn(**options)
    with xarray.open_datatree(
        arviz.write(tmp_path / "draws.nc", given, {}), engine="h5netcdf"
    ) as tree:
        assert set(tree.children) == groups
        assert tree.posterior.z.ndim == given.z.ndim + 1
        assert tree.posterior.row.values.tolist() == given.row.tolist()
        if given.x is not None:
            np.testing.assert_array_equal(tree.observed_data.x, given.x)


@pytest.fixture
def run(tmp_path):
    return read(write_run(tmp_path / "run"))


def scalars(folder):
    """Return the scalars of a folder as TensorBoard reads them: tag -> step -> value."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    tags = found.Tags()["scalars"]
    return {tag: {one.step: one.value for one in found.Scalars(tag)} for tag in tags}


def test_events_are_the_bounds_and_gaps_of_the_run(run, tmp_path):
    for _ in range(2):  # the second in place of the first
        path = tensorboard.write(tmp_path / "events", run)
    assert list((tmp_path / "events").iterdir()) == [path]
    found = scalars(tmp_path / "events")
    single = np.float32  # what the format keeps
    for split, curve in run.curves.items():
        bounds = {point.step: single(point.bound.mean) for point in curve.points}
        errors = {point.step: single(point.bound.se) for point in curve.points}
        assert found.pop(f"bound/{split}") == bounds
        assert found.pop(f"bound_se/{split}") == errors
    last = run.curves["test"].last.step
    for split, one in run.splits.items():
        assert found.pop(f"gap/{split}") == {last: single(one.amortization_gap.mean)}
        assert found.pop(f"gap_se/{split}") == {last: single(one.amortization_gap.se)}
    assert not found


def test_the_moments_of_events_are_those_of_training(run, tmp_path):
    start = {"time": "2026-03-01T10:00:00+01:00"}
    RunDir(run.folder).update_run(starts=[start])
    tensorboard.write(tmp_path, read(run.folder))
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    moments = {one.step: one.wall_time for one in found.Scalars("bound/valid")}
    for point in run.curves["valid"].points:
        assert moments[point.step] == pytest.approx(1772355600 + point.seconds, abs=1e-5)


def line(step, value):
    return MetricsLine(step, 0, "batches", 0, value, float("nan"), 8)


def test_a_resumed_run_hides_what_it_repeats_in_its_events(tmp_path):
    with tensorboard.live(tmp_path) as log:
        for step in (10, 20, 30, 40):
            log(line(step, float(step)))
    (first,) = (tmp_path / "tensorboard").iterdir()
    first.rename(first.with_name("events.out.tfevents.1"))  # both may be of one second
    with tensorboard.live(tmp_path) as log:  # the checkpoint was that of step 20
        for step in (30, 40, 50):
            log(line(step, -float(step)))
    found = scalars(tmp_path / "tensorboard")
    assert found == {"bound/batches": {10: 10.0, 20: 20.0, 30: -30.0, 40: -40.0, 50: -50.0}}


def test_a_tracker_that_sees_nothing_writes_nothing(tmp_path):
    with tensorboard.live(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_tables_are_the_lines_of_the_run(run, tmp_path):
    paths = tables.write(tmp_path / "tables", run)
    assert [path.name for path in paths] == ["metrics.csv", "points.csv"]
    with paths[0].open() as file:
        lines = list(csv.DictReader(file))
    measured = [json.loads(text) for text in (run.folder / "metrics.jsonl").read_text().split("\n")
                if text]  # fmt: skip
    assert {(one["split"], float(one["step"]), float(one["bound"])) for one in lines} == {
        (one["split"], one["step"], one["value"]) for one in measured
    }
    assert len(lines) == len(measured)
    assert paths[1].read_text() == (run.folder / points.POINTS).read_text()


def test_without_a_gap_report_there_is_no_table_of_points(run, tmp_path):
    (run.folder / points.POINTS).unlink()
    assert [path.name for path in tables.write(tmp_path, read(run.folder))] == ["metrics.csv"]


def test_what_is_not_known_is_an_empty_cell(run, tmp_path):
    (run.folder / "timing.jsonl").unlink()
    (path, *_) = tables.write(tmp_path, read(run.folder))
    with path.open() as file:
        assert {one["seconds"] for one in csv.DictReader(file)} == {""}


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r"to=x needs tensorboardX.*'avi\[tensorboard\]'"):
        imported("tensorboardX", "tensorboard", "to=x")
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(ConfigError, match=r"to=arviz needs h5netcdf.*'avi\[arviz\]'"):
        arviz.require()
