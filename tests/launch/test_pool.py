"""Runs of a sweep side by side: cores, exit codes and signals."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avi.launch import pool
from avi.launch.watch import Watch
from avi.rundir import RunDir

POLICY = pool.Pool(retry=0, fail_fast=False, then=None)
ROOT = Path(__file__).resolve().parent.parent.parent
SWEEP = ("train", "-m", "model=linear_gaussian", "gap.num_points=0", "train.eval_points=0")


@pytest.mark.parametrize(
    ("num_workers", "shares"),
    [(4, [[0], [1], [2], [3]]), (2, [[0, 2], [1, 3]]), (6, [[0], [1], [2], [3], [0], [1]])],
)
def test_cores_are_shared_out_evenly(monkeypatch, num_workers, shares):
    monkeypatch.setattr(pool, "cores", lambda: [0, 1, 2, 3])
    assert pool._Pool([], num_workers, Watch([]), POLICY).idle == shares


def test_an_accelerator_is_not_shared_by_default(monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: [0, 1])
    monkeypatch.setattr(pool.glob, "glob", lambda pattern: [])
    assert [pool.default_workers(device) for device in ("auto", "cpu", "gpu")] == [2, 2, 1]
    monkeypatch.setattr(pool.glob, "glob", lambda pattern: ["/dev/nvidia0"])
    assert [pool.default_workers(device) for device in ("auto", "cpu")] == [1, 2]


# Children that say more than a pipe holds, so that they end only if somebody reads or hangs up.
POOL_OF_STUBS = """
import subprocess, sys
from avi.launch import pool
from avi.launch.watch import Watch
from avi.launch.work import Attempt
CHILD = "[print('epoch') for _ in range(20000)]; {child}"
popen = subprocess.Popen
subprocess.Popen = lambda _, **rest: popen([sys.executable, "-c", CHILD], **rest)
runs = [Attempt({{}}, {{}}, [], "run", 0.0)] * {runs}
policy = pool.Pool(retry={retry}, fail_fast={fail_fast}, then=None)
print(pool.run(runs, 2, Watch(["name"] * {runs}), policy), file=sys.stderr)
"""


def pool_of(child, folder=".", stdout=subprocess.DEVNULL, runs=3, retry=0, fail_fast=False):
    """Return the codes of a pool of two whose children do this."""
    program = POOL_OF_STUBS.format(child=child, runs=runs, retry=retry, fail_fast=fail_fast)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


@pytest.mark.parametrize("output", ["closed", "/dev/full"])
def test_a_sweep_whose_output_nobody_takes_goes_on_to_its_end(output):
    if output == "closed":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    with open(writer, "w") as nobody:
        assert pool_of("exit(4)", stdout=nobody) == "[4, 4, 4]\n"


def test_a_run_that_breaks_off_is_tried_again_in_a_fresh_process(tmp_path):
    child = "import os; exit(0 if os.path.exists('first') else os.mkdir('first') or 1)"
    assert pool_of(child, tmp_path, runs=1, retry=0) == "[1]\n"
    (tmp_path / "first").rmdir()
    assert pool_of(child, tmp_path, runs=1, retry=1) == "[0]\n"


def test_the_first_failure_lets_those_under_way_end_and_starts_no_other():
    assert pool_of("exit(1)", runs=4, fail_fast=True) == "[1, 1, None, None]\n"


@pytest.mark.slow
def test_runs_side_by_side_are_those_of_a_run_alone_and_failures_are_listed(avi, workplace):
    words = (*SWEEP, "train.epochs=2,-1", "seed=0,1")
    refused = avi(*words)
    assert refused.returncode == 2  # before anything starts
    together = avi(*SWEEP, "device=cpu,tpu", "train.epochs=2", "jobs=2", "sweep=a")
    assert together.returncode == 2, together.stdout + together.stderr
    assert "1 done, 0 skipped, 1 failed" in together.stdout
    assert re.search(r"^\[2\] avi: .*tpu", together.stdout, re.M)
    alone = avi(*SWEEP, "device=cpu", "train.epochs=2", "jobs=1", "sweep=b")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    done = [path for path in Path("a").glob("*/metrics.jsonl") if path.stat().st_size]
    assert len(done) == 1
    (other,) = Path("b").glob("*/metrics.jsonl")
    assert done[0].parent.name == f"{other.parent.name}-device_cpu"


@pytest.mark.slow
def test_a_signal_reaches_every_run_and_the_same_command_goes_on(workplace):
    command = [sys.executable, "-m", "avi", *SWEEP, "seed=0,1,2", "train.epochs=100000"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "jobs=2", "sweep=s"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        started = set()
        for line in process.stdout:
            started |= set(re.findall(r"^\[(\d)\] epoch", line))
            if started == {"1", "2"}:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 75, rest
    assert "2 interrupted, 1 not started" in rest
    states = {RunDir.open(path).read_run()["status"] for path in Path("s").glob("[!.]*")}
    assert states == {"interrupted"}
