"""A training that does nothing but keep its promises, and sweeps of it."""

import sys
import types

import pytest

from avi.config.compose import compose
from avi.launch import places
from avi.rundir import RunDir

SWEEP = ["model=linear_gaussian", "dataset=linear_gaussian", "sweep=s"]


class Trainer:
    """Stands in for `avi.run.train`: keeps its calls and leaves the files of a run."""

    def __init__(self):
        self.calls = []  # seed, resume, overwrite
        self.fails = {}  # seed -> what its attempts raise, one after the other

    def main(self, tree, choices, overrides, folder, resume):
        self.calls.append((tree["seed"], resume, tree["overwrite"]))
        with (
            RunDir.open(folder).locked()
            if resume
            else RunDir.create(folder, tree["overwrite"]) as run
        ):
            run.write_config(tree)
            run.update_run(status="running", choices=dict(choices))
            if self.fails.get(tree["seed"]):
                raise self.fails[tree["seed"]].pop(0)
            run.update_run(status="done")

    @property
    def seeds(self):
        return [seed for seed, *_ in self.calls]


@pytest.fixture
def trainer(monkeypatch, workplace):
    """Replace the training itself, in an empty folder."""
    import avi.run

    stub = Trainer()
    module = types.SimpleNamespace(main=stub.main)
    monkeypatch.setitem(sys.modules, "avi.run.train", module)
    monkeypatch.setattr(avi.run, "train", module, raising=False)
    monkeypatch.setattr("avi.launch.pool.default_workers", lambda device: 1)
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SUBMITIT_LOCAL_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return stub


@pytest.fixture
def sweep(trainer):
    """Return what carries out a sweep over these words, and returns its exit code."""
    return lambda *words: places.sweep(compose([*SWEEP, *words], multirun=True))


@pytest.fixture
def followed(monkeypatch):
    """Return the command lines that follow a sweep, which are not carried out: gap would fail."""
    lines = []

    def call(words):
        lines.append(words[3:])
        return 4 if "gap" in words else 0

    monkeypatch.setattr("avi.launch.sweep.subprocess.call", call)
    return lines
