"""Stand-ins for what takes minutes: commands take their words, and synthetic runs appear."""

from pathlib import Path

import pytest
from report.conftest import write_run

from avi.config.build import require_effect
from avi.results.run import read
from avi.rundir import RunDir


def _trained(tree, choices, overrides, folder, resume):
    """Take the words of a training, and leave the files of a run that they describe."""
    require_effect(overrides, tree)
    started = tree["train"]["start"]
    assert started is None or Path(started, "config.yaml").is_file()
    network = tree["inference"].get("network")
    width = network["widths"][0] if network else 64
    mode, seed = choices["inference"], tree["seed"]
    write_run(folder, inference=mode, seed=seed, width=width, gap=8 / width + 0.2)
    RunDir(folder).write_config(tree)
    RunDir(folder).update_run(choices=dict(choices))


def _measured(folder, *_):
    """Return the report that is there."""
    return read(folder).gap


def _nothing(*_, **__):
    return None


@pytest.fixture
def stand_ins(workplace, monkeypatch):
    """An empty folder in which nothing is computed."""
    monkeypatch.setattr("avi.run.train.main", _trained)
    monkeypatch.setattr("avi.run.measure.main", _measured)
    for name in ("calibrate", "export", "posterior", "replay"):
        monkeypatch.setattr(f"avi.run.{name}.main", _nothing)
    monkeypatch.setattr("avi.launch.pool.default_workers", lambda device: 1)
    return workplace
