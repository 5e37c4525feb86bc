"""The array job: which words a task trains on, and which task asks to be run again."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "slurm" / "array.sbatch"
IN_ARRAY = {
    "SLURM_JOB_ID": "40",
    "SLURM_ARRAY_JOB_ID": "40",
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_MAX": "3",
}


@pytest.fixture
def submit(tmp_path):
    """Start the script as SLURM would, with an `avi` that notes its words and waits."""

    def program(name, *lines):
        path = tmp_path / name
        path.write_text("\n".join(["#!/usr/bin/env bash", f"cd {tmp_path}", *lines]) + "\n")
        path.chmod(0o755)

    saved = "trap 'exit 75' USR2 TERM"
    program("avi", 'printf "%s\\n" "$@" > words', saved, "touch started", "sleep 20 & wait $!")
    program("scontrol", 'echo "$@" >> asked')

    def start(*words, **environment):
        return subprocess.Popen(
            ["bash", str(SCRIPT), *words],
            cwd=tmp_path,
            env=os.environ
            | {"AVI": str(tmp_path / "avi"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
            | environment,
        )

    return start


def ended(process, number, folder):
    """Return the exit code after a signal, and what was asked of SLURM."""
    deadline = time.monotonic() + 20
    while not (folder / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # the script has learned by then whom to tell
    process.send_signal(number)
    code = process.wait(timeout=20)
    asked = folder / "asked"
    return code, asked.read_text() if asked.exists() else ""


def test_a_task_that_runs_out_of_time_asks_for_itself_and_not_for_the_array(submit, tmp_path):
    assert ended(submit(**IN_ARRAY), signal.SIGUSR2, tmp_path) == (75, "requeue 40_2\n")


def test_a_task_that_is_cancelled_ends(submit, tmp_path):
    assert ended(submit(**IN_ARRAY), signal.SIGTERM, tmp_path) == (75, "")


@pytest.mark.parametrize(
    ("given", "grid"),
    [
        (["inference=svi"], ["seed=0,1,2,3"]),
        (["inference.network.widths=[8,16]"], ["seed=0,1,2,3"]),
        (["inference=svi,amortized"], []),
        (["inference.network.widths=[8],[16]"], []),
    ],
)
def test_a_task_is_one_job_of_the_sweep_over_its_grid_or_the_seeds(submit, tmp_path, given, grid):
    assert ended(submit(*given, **IN_ARRAY), signal.SIGTERM, tmp_path)[0] == 75
    assert (tmp_path / "words").read_text().split() == ["train", "-m", *grid, *given, "task=2"]
