"""`avi status`: what became of each run that a sweep asked for."""

import json
import math
import os
import socket
import time
from pathlib import Path

import pytest
from report.conftest import write_run

from avi.cli.main import run
from avi.cli.progress import progress
from avi.launch import work
from avi.results import facts, jobs
from avi.results.jobs import Attempted, Submission
from avi.rundir import RunDir
from avi.rundir.lock import Lock

HERE = socket.gethostname()
NOBODY = 2**22 + 1  # above the largest id of a process


@pytest.fixture
def sweep(workplace):
    """A sweep of one finished run, which was asked for a moment before it was written."""
    folder = workplace / "outputs" / "sweeps" / "grid"
    jobs.submitted(folder, [Submission("one", time.time() - 60, "slurm", "41_0")])
    write_run(folder / "one")
    return folder


def only(sweep):
    """Return what is said of the only run."""
    (one,) = progress([sweep])
    return one


def attempt(sweep, name="one", asked=None, **more):
    """Write the last attempt at a run, by default one that the last submission asked for."""
    if asked is None:
        asked = {one.run: one.asked for one in jobs.submissions(sweep)}[name]
    jobs._write(sweep / name, Attempted(asked, **more))


def test_a_finished_run_is_done_with_its_bound_epoch_and_job(sweep):
    one = only(sweep)
    assert (one.state, one.reason, one.job) == ("done", "", "41_0")
    assert one.split == "test"
    assert math.isfinite(one.bound)
    assert one.epoch > 0


def test_a_run_waits_from_the_moment_it_is_asked_for(sweep):
    jobs.submitted(sweep, [Submission("two", time.time() - 30, "slurm", "41_1")])
    one, two = progress([sweep])
    assert (one.state, two.state, two.job) == ("done", "waiting", "41_1")
    assert 30 <= two.age < 60
    assert math.isnan(two.epoch)
    RunDir(sweep / "one").update_run(status="interrupted")
    os.utime(sweep / "one" / "run.json")
    assert only(sweep.parent / "grid" / "one").state == "preempted"
    jobs.submitted(sweep, [Submission("one", time.time() + 1, "slurm", "42")])  # again
    one, _ = progress([sweep])
    assert (one.state, one.job) == ("waiting", "42")


def test_a_run_that_a_process_holds_is_running_whatever_is_on_record(sweep):
    RunDir(sweep / "one").update_run(status="running")
    attempt(sweep, host=HERE, pid=NOBODY, began=time.time())
    assert (only(sweep).state, only(sweep).reason) == (
        "failed", "The process that worked on it is gone.",
    )  # fmt: skip
    lock = Lock(sweep / "one" / ".lock")
    assert only(sweep).state == "running"
    lock.release()
    attempt(sweep, host="node07", pid=NOBODY, began=time.time())  # whose locks are not seen here
    assert (only(sweep).state, only(sweep).host) == ("running", "node07")


def test_a_failure_says_why_before_there_is_a_folder_and_after(sweep):
    jobs.submitted(sweep, [Submission("two", time.time() - 30, "slurm", "41_1")])
    attempt(sweep, "two", host=HERE, began=1.0, ended=2.0, exit_code=7, reason="No rows.")
    assert [(one.state, one.reason) for one in progress([sweep])][1] == ("failed", "No rows.")
    attempt(sweep, "two", host=HERE, began=1.0, ended=2.0, exit_code=75, reason="Stopped.")
    assert [(one.state, one.reason) for one in progress([sweep])][1] == ("preempted", "")
    facts.record(
        RunDir(sweep / "one"), status="failed", starts=[{"host": "node07", "reason": "NaN."}]
    )
    one = progress([sweep])[0]
    assert (one.state, one.reason, one.host) == ("failed", "NaN.", "node07")


def test_a_run_of_no_sweep_is_known_by_its_folder_alone(workplace):
    folder = write_run(workplace / "outputs" / "train" / "alone")
    assert (only(folder).state, only(folder).job) == ("done", "")
    (folder / "run.json").unlink()
    (folder / "metrics.jsonl").unlink()
    assert only(folder).state == "waiting"  # not one step yet


def test_a_line_for_each_run_and_a_total(sweep, capsys):
    jobs.submitted(sweep, [Submission("two", time.time() - 30, "slurm", "41_1")])
    attempt(
        sweep, "two", host="node07", began=1.0, ended=2.0, exit_code=6, reason="Out of\nmemory."
    )
    assert run(["status", str(sweep)]) == 0
    one, two, total = capsys.readouterr().out.splitlines()
    assert one.startswith("done    epoch ")
    assert "test ELBO" in one
    assert one.endswith("job 41_0         one")
    assert two.startswith("failed  epoch ")
    assert two.endswith("node07 job 41_1  two: Out of memory.")
    assert total == "2 runs: 1 failed, 1 done"
    assert run(["status", "--json"]) == 0  # outputs, as it is not said which
    found = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in found] == ["done", "failed"]
    assert found[1]["bound"] is None


def test_records_that_somebody_else_wrote_do_no_harm(sweep, capsys):
    folder = sweep / jobs.FOLDER
    lines = ['{"run": "../../train", "asked": 1}', '{"run": 3}', "torn", '{"run": "b", "job": []}']
    with (folder / jobs.SUBMITTED).open("a") as file:
        file.write("\n".join(lines) + "\n")
    (folder / "c.json").write_text("{")
    (folder / "d.json").write_text('{"pid": -1, "began": 1, "host": "\\u001b[2J"}')
    found = {Path(one.run).name: one.state for one in progress([sweep])}
    assert found == {"b": "waiting", "c": "waiting", "d": "running", "one": "done"}
    assert run(["status", str(sweep)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert not work.lives(-1)
    assert not work.lives(2**70)
    assert work.lives(os.getpid())


def test_where_there_is_nothing_it_says_so(workplace, capsys):
    Path("empty").mkdir()
    assert run(["status", "empty"]) == 0
    assert capsys.readouterr().out == "No runs in empty.\n"
    assert run(["status", "nowhere"]) == 2
    assert "There is no folder nowhere. Try avi status <folder of runs>." in capsys.readouterr().err
