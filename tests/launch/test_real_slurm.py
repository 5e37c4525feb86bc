"""Sweeps through the queue of a real SLURM, where one can be brought up on this machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch import local_slurm

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0  # seconds for what takes a few on a machine that does nothing else
LACKING = local_slurm.lacking()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"no SLURM can be brought up here: {LACKING}"),
]
SHORT = ("model=linear_gaussian", "dataset=linear_gaussian", "train.epochs=2")
LONG = ("model=vae", "dataset=digits", "train.epochs=1500", "train.save_every=50")
LAUNCH = ("launcher=slurm", "launcher.cpus=1", "launcher.memory=2", "launcher.time=30")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return what a shell needs to speak to the cluster."""
    with local_slurm.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}


@pytest.fixture
def shell(cluster, tmp_path):
    """Return what starts a command line in an empty folder, beside the cluster."""

    def start(*words):
        return subprocess.Popen(
            words,
            env=cluster,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return start


@pytest.fixture
def submit(shell):
    """Return what starts a sweep of short or long runs."""
    quiet = ("gap.num_points=0", "train.report=false")

    def start(*words):
        return shell(sys.executable, "-m", "avi", "train", "-m", *words, *LAUNCH, *quiet)

    return start


def until(done):
    """Wait for something, and return it."""
    end = time.monotonic() + PATIENCE
    while not (found := done()):
        assert time.monotonic() < end
        time.sleep(0.3)
    return found


def ends(process):
    """Return the output of a process that ends well."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def is_empty(shell):
    """Whether no job is in the queue."""
    return not ends(shell("squeue", "--noheader")).strip()


def status(folder):
    """Return what run.json says of the only run of a sweep, empty before it is there."""
    found = list(folder.glob("*/run.json"))
    return json.loads(found[0].read_text())["status"] if found else ""


def metrics(folder):
    (path,) = folder.glob("*/metrics.jsonl")
    return path.read_bytes()


def trained(folder):
    """Return the number of the newest step that the only run of a sweep has saved."""
    return max((int(one.name) for one in folder.glob("*/checkpoints/[0-9]*")), default=0)


def test_two_commands_at_once_submit_every_run_once_and_what_follows_follows(
    submit, shell, tmp_path
):
    words = (*SHORT, "seed=0,1", "sweep=s", "launcher.then=compare")
    both = [submit(*words), submit(*words)]
    told = "".join(ends(one) for one in both)
    assert told.count("2 jobs submitted") == 1, told
    until(lambda: is_empty(shell))
    runs = sorted(tmp_path.glob("s/linear_gaussian*"))
    assert [json.loads((run / "run.json").read_text())["status"] for run in runs] == ["done"] * 2
    assert list(tmp_path.glob("s/**/comparison.md"))
    assert "submitted" not in ends(submit(*words))


def test_a_preempted_run_ends_as_an_undisturbed_one_to_the_byte(submit, shell, tmp_path):
    ends(submit(*LONG, "seed=0", "sweep=undisturbed", "launcher.partition=high"))
    until(lambda: is_empty(shell))
    ends(submit(*LONG, "seed=0", "sweep=preempted", "launcher.partition=low"))
    until(lambda: trained(tmp_path / "preempted") > 0)
    cores = str(os.cpu_count())
    ends(shell("sbatch", "-p", "high", "-c", cores, "-o", "/dev/null", "--wrap", "sleep 2"))
    until(lambda: status(tmp_path / "preempted") == "interrupted")
    until(lambda: is_empty(shell))
    assert status(tmp_path / "preempted") == "done"
    assert metrics(tmp_path / "preempted") == metrics(tmp_path / "undisturbed")


def test_a_cancelled_run_saves_and_the_same_command_submits_it_again(submit, shell, tmp_path):
    words = (*LONG, "seed=0", "sweep=s")
    ends(submit(*words))
    until(lambda: trained(tmp_path / "s") > 0)
    ends(shell("scancel", "--user=root"))
    until(lambda: is_empty(shell))
    assert status(tmp_path / "s") == "interrupted"
    before = trained(tmp_path / "s")
    assert "1 job submitted" in ends(submit(*words))
    until(lambda: is_empty(shell))
    assert status(tmp_path / "s") == "done"
    assert trained(tmp_path / "s") > before
