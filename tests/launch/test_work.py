"""One run of a sweep: started again at any time, it does what is left to do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch.conftest import SWEEP

from avi.config.compose import compose
from avi.errors import BusyError, ConfigError, NonFiniteError, Preempted
from avi.launch import places, work
from avi.launch.pool import Pool
from avi.launch.sweep import has_failed
from avi.results import jobs
from avi.rundir import RunDir
from avi.rundir.lock import Lock


def attempt(*words, asked=None):
    """Return the attempt at the only run of a sweep over these words."""
    (launch,) = places.place_sweep(compose([*SWEEP, "seed=0", *words], multirun=True))
    job, asked = launch.job, time.time() - 1 if asked is None else asked
    return work.Attempt(job.tree, job.choices, job.words, str(launch.folder), asked)


def test_what_is_done_is_not_trained_again_and_what_is_begun_goes_on(trainer):
    run = attempt()
    trainer.fails = {0: [Preempted("Saved.")]}
    assert [work.work(run) for _ in range(3)] == [75, 0, 0]
    assert trainer.calls == [(0, False, False), (0, True, False)]


def test_a_run_is_replaced_once_however_often_it_is_started(trainer):
    run = attempt("overwrite=true")
    with RunDir.create(run.path) as before:
        before.write_config(run.tree)
        before.update_run(status="done")
    os.utime(before.config_path, (run.asked - 60, run.asked - 60))
    trainer.fails = {0: [Preempted("Saved.")]}
    assert [work.work(run) for _ in range(3)] == [75, 0, 0]
    assert trainer.calls == [(0, False, True), (0, True, False)]


def test_a_run_that_another_process_works_on_is_left_alone_and_has_not_failed(
    trainer, sweep, capsys
):
    run = attempt()
    run.path.mkdir(parents=True)
    lock = Lock(run.path / ".lock")
    assert work.work(run) == work.BUSY
    assert not has_failed(work.BUSY)
    assert sweep("seed=0,1", "launcher.fail_fast=true") == 3
    lock.release()
    assert trainer.seeds == [1]
    assert jobs.attempted(run.path) is None
    out = capsys.readouterr().out
    assert "1 done, 0 skipped, 0 failed" in out
    assert "1 under way elsewhere" in out


def test_who_comes_too_late_for_the_lock_finds_the_run_done(trainer, monkeypatch):
    run, train = attempt(), trainer.main

    def quicker(tree, choices, overrides, folder, resume):
        train(tree, choices, overrides, folder, resume)
        raise BusyError("exists and is not empty")

    monkeypatch.setattr(sys.modules["avi.run.train"], "main", quicker)
    assert work.work(run) == 0


def test_a_process_that_was_killed_is_on_record(trainer):
    run = attempt()
    jobs.began(run.path, run.asked, "41_0")
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert work.ended(run, subprocess.Popen(killed)) == 137
    last = jobs.attempted(run.path)
    assert (last.exit_code, last.job) == (137, "41_0")
    assert "killed by signal 9" in last.reason


def test_a_process_that_could_not_wait_for_its_end_is_on_record(trainer):
    run = attempt()
    jobs.began(run.path, run.asked, "")
    left = [sys.executable, "-c", "import os; os._exit(75)"]
    assert work.ended(run, subprocess.Popen(left)) == 75
    assert jobs.attempted(run.path).exit_code == 75
    before = jobs.attempted(run.path).ended
    assert work.ended(run, subprocess.Popen([sys.executable, "-c", "exit(1)"])) == 1
    assert jobs.attempted(run.path).ended == before  # it had an end


def test_a_record_names_the_job_and_the_reason(trainer, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "44")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "41")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    trainer.fails = {0: [NonFiniteError("NaN.")]}
    run = attempt()
    assert work.work(run) == 5
    last = jobs.attempted(run.path)
    assert (last.job, last.exit_code, last.reason, last.asked) == ("41_3", 5, "NaN.", run.asked)
    assert last.began <= last.ended


@pytest.mark.parametrize(
    ("code", "worth"),
    [(0, False), (1, True), (2, False), (3, False), (4, False), (5, False), (6, True), (75, False),
     (130, False), (137, True)],
)  # fmt: skip
def test_only_what_may_end_otherwise_is_tried_again(code, worth):
    policy = Pool(retry=2, fail_fast=False, then=None)
    assert [policy.tries_again(code, number) for number in (1, 2, 3)] == [worth, worth, False]


def test_a_run_that_breaks_off_is_tried_again_from_where_it_was(trainer, sweep):
    trainer.fails = {1: [MemoryError(), ZeroDivisionError("zero")]}
    assert sweep("seed=1,0", "launcher.retry=2") == 0
    assert trainer.calls == [
        (1, False, False),
        (1, True, False),
        (1, True, False),
        (0, False, False),
    ]


def test_after_the_last_attempt_a_run_has_failed(trainer, sweep):
    trainer.fails = {1: [MemoryError()] * 3, 2: [ConfigError("No.")]}
    assert sweep("seed=1,2,0", "launcher.retry=1") == 6
    assert trainer.seeds == [1, 1, 2, 0]


def test_the_first_failure_keeps_the_others_from_being_started(trainer, sweep, capsys):
    trainer.fails = {1: [NonFiniteError("NaN.")]}
    assert sweep("seed=0,1,2,3", "launcher.fail_fast=true") == 5
    assert trainer.seeds == [0, 1]
    assert "1 done, 0 skipped, 1 failed, 0 interrupted, 2 not started" in capsys.readouterr().out


def test_runs_are_compared_when_all_have_ended_those_of_before_included(trainer, sweep, followed):
    trainer.fails = {2: [NonFiniteError("NaN.")]}
    sweep("seed=0")
    assert sweep("seed=0,1,2", "launcher.then=compare") == 5
    ((command, *folders),) = followed
    assert command == "compare"
    assert [Path(folder).name.split("-")[3] for folder in folders] == ["0", "1"]


def test_the_gap_of_each_run_that_was_trained_is_measured(trainer, sweep, followed):
    sweep("seed=0")
    assert sweep("seed=0,1,2", "launcher.then=gap") == 4
    assert [line[0] for line in followed] == ["gap", "gap"]
    assert [line[1].split("-")[3] for line in followed] == ["1", "2"]
    assert all(line[1].startswith("run=s/linear_gaussian") for line in followed)


def test_nothing_follows_a_sweep_that_was_stopped(trainer, sweep, followed):
    trainer.fails = {1: [Preempted("Saved.")]}
    assert sweep("seed=0,1", "launcher.then=compare") == 75
    assert followed == []


def test_a_launcher_is_of_a_sweep_and_leaves_no_trace_in_its_runs(trainer, sweep):
    with pytest.raises(
        ConfigError, match=r"launcher\.retry=1 is about the jobs of a sweep\. Try -m"
    ):
        compose(["launcher.retry=1"])
    sweep("seed=0,1", "launcher.retry=1")
    (job, _) = compose([*SWEEP, "seed=0,1", "launcher.retry=1"], multirun=True)
    assert "launcher" not in job.tree
    assert "launcher" not in job.choices
    assert not [word for word in job.words if "launcher" in word]
    with pytest.raises(ConfigError, match=r"launcher: retry must be 0 or more; got -1\."):
        sweep("seed=0,1", "launcher.retry=-1")
