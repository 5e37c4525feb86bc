"""A sweep by submitit: in this process, in others of this machine, and as SLURM is told of it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from avi.cli.progress import progress
from avi.errors import ConfigError, NonFiniteError, Preempted, ResourceError
from avi.launch import slurm, work
from avi.results import jobs

ROOT = Path(__file__).resolve().parents[2]
DEBUG = ("launcher=slurm", "launcher.cluster=debug")


def states():
    return {Path(one.run).name.split("-")[3]: one.state for one in progress([Path("s")])}


# In this process.


def test_the_same_sweep_again_submits_only_what_is_missing(trainer, sweep, capsys):
    trainer.fails = {1: [NonFiniteError("NaN.")]}
    assert sweep("seed=0,1", *DEBUG) == 5
    assert "2 jobs submitted" in capsys.readouterr().out
    assert states() == {"0": "done", "1": "failed"}
    assert sweep("seed=0,1,2", *DEBUG) == 0
    assert trainer.calls == [(0, False, False), (1, False, False), (1, True, False),
                             (2, False, False)]  # fmt: skip
    assert sweep("seed=0,1,2", *DEBUG) == 0
    assert len(trainer.calls) == 4
    assert "submitted" not in capsys.readouterr().out.splitlines()[-1]


def test_a_job_tries_a_run_again_where_that_may_help(trainer, sweep):
    trainer.fails = {1: [MemoryError(), MemoryError()], 2: [NonFiniteError("NaN.")]}
    assert sweep("seed=1,2", "launcher.retry=2", *DEBUG) == 5
    assert trainer.seeds == [1, 1, 1, 2]


def test_jobs_behind_the_first_failure_leave_their_runs_out_and_say_so(trainer, sweep, capsys):
    trainer.fails = {1: [NonFiniteError("NaN.")]}
    assert sweep("seed=0,1,2", "launcher.fail_fast=true", *DEBUG) == 5
    assert trainer.seeds == [0, 1]
    assert states() == {"0": "done", "1": "failed", "2": "waiting"}
    (left,) = [one for one in progress([Path("s")]) if one.state == "waiting"]
    assert re.fullmatch(r"Not started: \S+-1-\S+ has failed, and launcher\.fail_fast=true\.",
                        left.reason)  # fmt: skip
    assert "1 not started" in capsys.readouterr().out
    assert sweep("seed=0,1,2", "launcher.fail_fast=true", *DEBUG) == 0  # that was another time
    assert trainer.seeds == [0, 1, 1, 2]


def test_a_signal_ends_the_jobs_of_this_process_and_what_was_before_is_not_counted(
    trainer, sweep, capsys
):
    trainer.fails = {1: [Preempted("Saved.")], 2: [NonFiniteError("NaN.")]}
    assert sweep("seed=2", *DEBUG) == 5
    assert sweep("seed=0,1,2", *DEBUG) == 75
    assert trainer.seeds == [2, 0, 1]
    assert states() == {"0": "done", "1": "preempted", "2": "waiting"}
    said = capsys.readouterr().out.splitlines()
    assert any("1 done, 0 skipped, 0 failed, 1 interrupted, 1 not started" in one for one in said)


@pytest.mark.parametrize(("then", "lines", "code"), [("compare", 1, 0), ("gap", 2, 4)])
def test_what_follows_comes_when_all_have_ended(then, lines, code, trainer, sweep, followed):
    assert sweep("seed=0,1", f"launcher.then={then}", *DEBUG) == code
    assert [line[0] for line in followed] == [then] * lines


def test_without_submitit_it_says_what_to_install(trainer, sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(
        ConfigError, match=r"launcher=slurm needs submitit, .* pip install 'avi\[sl"
    ):
        sweep("seed=0", *DEBUG)
    assert not Path("s").exists()


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("launcher.time=1", "time must be 2 or more; got 1."),
        ("launcher.cpus=0", "cpus must be 1 or more; got 0."),
        ("launcher.memory=0", "memory must be positive (GB); got 0."),
        ("launcher.cluster=pbs", "'pbs' is not one of: slurm, local, debug."),
        ("launcher.sbatch=fast", "launcher.sbatch: expected"),
        ("launcher.parallel=3", "There is no key launcher.parallel."),
    ],
)
def test_a_setting_that_cannot_be_is_refused(word, sentence, trainer, sweep):
    with pytest.raises(ConfigError) as caught:
        sweep("seed=0", "launcher=slurm", word)
    assert sentence in str(caught.value)
    assert not Path("s").exists()


# As SLURM is told of it.


@pytest.fixture
def cluster(trainer, monkeypatch, tmp_path):
    """Return a folder of the programs of SLURM: they note what they are told, and queue nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def program(name, text):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)

    program("sbatch", f"cp $1 {programs}/$(ls {programs} | wc -l).script\n"
            "echo Submitted batch job 4$(ls " f"{programs}/*.script | wc -l)")  # fmt: skip
    program("srun", "exit 1")
    program("squeue", f"cat {programs}/queue")
    (programs / "queue").write_text("")
    return programs


def scripts(cluster):
    """Return what sbatch was given, in that order."""
    paths = sorted(cluster.glob("*.script"), key=lambda path: path.stat().st_mtime_ns)
    return [path.read_text() for path in paths]


def test_a_sweep_is_one_job_array_with_what_was_asked_for(cluster, sweep, capsys):
    words = "launcher.time=90 launcher.cpus=3 launcher.gpus=1 launcher.memory=6 jobs=2".split()
    more = ["launcher.partition=long", "launcher.sbatch={account: mine, constraint: a100}"]
    assert sweep("seed=0,1,2", "launcher=slurm", *words, *more) == 0
    (script,) = scripts(cluster)
    for line in (
        "array=0-2%2", "time=90", "cpus-per-task=3", "gpus-per-node=1", "mem=6GB",
        "partition=long", "account=mine", "constraint=a100", "requeue", "open-mode=append",
        "signal=USR2@60",
    ):  # fmt: skip
        assert f"#SBATCH --{line}\n" in script
    assert re.search(r"^srun .* --cpus-per-task=3 .*submitit", script, re.MULTILINE)
    out = capsys.readouterr().out
    assert "3 jobs submitted to SLURM." in out
    assert "To look: avi status s" in out
    assert states() == {"0": "waiting", "1": "waiting", "2": "waiting"}
    assert [one.job for one in jobs.submissions(Path("s"))] == ["41_0", "41_1", "41_2"]


def test_what_is_in_the_queue_is_not_submitted_twice(cluster, sweep, capsys):
    sweep("seed=0,1,2", "launcher=slurm")
    (cluster / "queue").write_text("41_0\n41_2\n7\n")
    assert sweep("seed=0,1,2", "launcher=slurm") == 0
    assert capsys.readouterr().out.count("in the queue already, job 41_") == 2
    assert [one.job for one in jobs.submissions(Path("s"))][3:] == ["42"]
    assert "--array" not in scripts(cluster)[1]  # one job alone
    assert "gpu" not in scripts(cluster)[1]
    (cluster / "queue").write_text("41_0\n41_2\n42\n")
    assert sweep("seed=0,1,2", "launcher=slurm") == 0
    assert len(scripts(cluster)) == 2


@pytest.mark.parametrize(("then", "array"), [("compare", False), ("gap", True)])
def test_what_follows_waits_for_all_jobs_those_of_before_included(cluster, sweep, then, array):
    sweep("seed=0", "launcher=slurm")
    (cluster / "queue").write_text("41\n")
    assert sweep("seed=0,1,2", "launcher=slurm", f"launcher.then={then}") == 0
    *_, last = scripts(cluster)
    assert "#SBATCH --dependency=afterany:41:42\n" in last
    assert ("--array" in last) == array


def test_where_slurm_is_not_another_launcher_is_offered(trainer, sweep, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"finds no sbatch: .* try launcher=pool\."):
        sweep("seed=0", "launcher=slurm")


def test_what_slurm_refuses_is_told_in_its_words(cluster, sweep):
    sweep("seed=0", "launcher=slurm")
    (cluster / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n"
    )
    with pytest.raises(ResourceError, match="does not take the jobs: sbatch: error: invalid part"):
        sweep("seed=0", "launcher=slurm")
    (cluster / "squeue").write_text("#!/bin/sh\necho 'squeue: error: timed out' >&2\nexit 1\n")
    with pytest.raises(ResourceError, match="which jobs there are: squeue: error: timed out"):
        sweep("seed=0", "launcher=slurm")


@pytest.mark.parametrize(
    ("codes", "code"), [({"0": 0, "1": 0}, 0), ({"0": 0, "1": 5}, 5), ({"0": 0}, 75)]
)
def test_who_waits_learns_how_the_jobs_ended(codes, code, cluster, sweep, monkeypatch, capsys):
    (cluster / "queue").write_text("41_0\n41_1\n")

    def sleep(seconds):
        """Let time pass on the cluster: first a look that fails, then the end of all jobs."""
        if "squeue" not in looked:
            looked.append("squeue")
            return (cluster / "queue").unlink()
        for one in jobs.submissions(Path("s")):
            run = Path("s", one.run)
            if (ended := codes.get(one.run.split("-")[3])) is not None:
                jobs.began(run, one.asked, one.job)
                jobs.ended(run, ended, "")
        return (cluster / "queue").write_text("")

    looked = []
    monkeypatch.setattr(slurm.time, "sleep", sleep)
    assert sweep("seed=0,1", "launcher=slurm", "launcher.wait=true") == code
    said = capsys.readouterr().out
    assert "SLURM does not say which jobs there are: " in said
    assert f"{len(codes) - (code == 5)} done, 0 skipped, {int(code == 5)} failed" in said


# In a job.

SAVES = """
import signal, sys, time
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75))
print("ready", flush=True)
time.sleep(30)
"""


def test_a_job_that_is_told_to_end_lets_the_run_save_and_asks_for_the_same_again(
    trainer, monkeypatch
):
    process = subprocess.Popen([sys.executable, "-c", SAVES], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    monkeypatch.setattr(work, "started", lambda *_: process)
    monkeypatch.setattr(slurm.signal, "signal", lambda *_: None)  # of the job's own process
    run = work.Attempt({}, {}, [], "s/run", 1.0)
    task = slurm._Task(slurm.Policy(retry=3, fail_fast=False, then=None), here=False)
    again = []
    timer = threading.Timer(0.3, lambda: again.append(task.checkpoint(run)))
    timer.start()
    with pytest.raises(SystemExit) as ended:
        task(run)
    timer.join()
    assert ended.value.code == 75
    (later,) = again
    assert later.args == (run,)
    assert later.function.policy == task.policy


@pytest.mark.slow
def test_a_preempted_job_goes_on_where_it_was_and_a_cancelled_one_ends(workplace):
    words = (
        "train -m model=linear_gaussian dataset=linear_gaussian seed=0 gap.num_points=0 sweep=s "
        "train.eval_points=0 train.epochs=1000000 launcher=slurm launcher.cluster=local"
    ).split()
    with open("said", "w") as said:  # a file, as such jobs keep the output open
        command = [sys.executable, "-m", "avi", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=environment, stdout=said, stderr=said, timeout=60, check=True)
    (asked,) = jobs.submissions(Path("s"))

    def until(met):
        deadline = time.monotonic() + 60
        while not met():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def starts():
        (run,) = Path("s").glob("[!.]*")
        return json.loads((run / "run.json").read_text())["starts"]

    try:
        until(lambda: list(Path("s").glob("*/metrics.jsonl")))
        assert states() == {"0": "running"}
        task = Path(f"/proc/{asked.job}/task/{asked.job}/children").read_text()
        os.kill(int(task), signal.SIGUSR2)
        until(lambda: len(starts()) == 2)
        first, second = starts()
        assert first["status"] == "interrupted"
        assert second["step"] > 0
        assert states() == {"0": "running"}
    finally:
        os.kill(int(asked.job), signal.SIGTERM)  # which the job's own processes hear
    until(lambda: states() == {"0": "preempted"})
    assert [one["status"] for one in starts()] == ["interrupted", "interrupted"]
    assert len(jobs.submissions(Path("s"))) == 1
