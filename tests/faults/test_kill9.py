"""A run that is killed at any moment and given again ends in the same bits."""

import json
import os
import random
import shutil
import signal
import time
from functools import cache

import pytest
from faults.hooks import DieSaving, WhenCompiling, without_report
from faults.processes import GAP, MODES, SOAK, TINY, Avi, avi, digests

from avi.rundir import RunDir

EPOCHS = 12
KILLS = int(os.environ.get("AVI_SOAK_KILLS", "50")) if SOAK else 3  # per mode
MOMENTS = ("any", "training", "saving", "compiling")
SEED = int(os.environ.get("AVI_KILL_SEED", "0")) or time.time_ns() % 2**32


def words(mode, *more):
    return ["train", "output=run", *TINY, *MODES[mode], f"train.epochs={EPOCHS}", *more]


def hooks():
    return () if SOAK else (without_report,)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    @cache
    def run(mode):
        folder = tmp_path_factory.mktemp(mode)
        running = avi(words(mode), folder, hooks())
        assert running.process.exitcode == 0, running.output
        return digests(folder / "run"), running.seconds

    return run


def struck(mode, folder, moment, rng, seconds):
    """Give the command once and kill it at a random moment of one kind; return the exit code."""
    if moment == "saving":
        # A save takes about ten steps to the disk; further on in the run it ends by itself.
        return avi(words(mode), folder, (*hooks(), DieSaving(rng.randint(1, 60)))).process.exitcode
    if moment == "compiling":
        cold = folder / "cold"
        strike = WhenCompiling(rng.randint(1, 8), rng.uniform(0, 0.3))
        code = Avi(words(mode), folder, (*hooks(), strike), cache=str(cold)).wait()
        shutil.rmtree(cold, ignore_errors=True)
        return code
    running = Avi(words(mode), folder, hooks())
    begun = running.output
    if moment == "training":
        while running.process.is_alive() and "epoch" not in running.output[len(begun) :]:
            time.sleep(0.005)
        time.sleep(rng.expovariate(10))
    else:
        time.sleep(rng.uniform(0, seconds))
    if running.process.is_alive():
        running.send(signal.SIGKILL)
    return running.wait()


def is_done(run):
    """Whether nothing is left to do: the same command given again is refused, as it would be."""
    return run.read_run().get("status") == "done"


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_run_ends_in_the_bits_of_one_that_was_not(mode, uninterrupted, tmp_path):
    expected, seconds = uninterrupted(mode)
    rng = random.Random(f"{SEED} {mode}")
    told, kills, rounds = [], 0, 0
    began = time.monotonic()
    while kills < KILLS:
        rounds += 1
        folder = tmp_path / str(rounds)
        run = RunDir(folder / "run")
        for moment in rng.sample(MOMENTS, 3):
            code = struck(mode, folder, moment, rng, seconds)
            told.append((rounds, moment, code))
            assert code in (0, -signal.SIGKILL), (SEED, told, (folder / "output.txt").read_text())
            kills += code != 0
            if is_done(run):  # perhaps killed all the same, between its last word and its end
                break
        if not is_done(run):
            by_name = run.config_path.exists() and rng.random() < 0.5
            finished = avi(["train", "resume=run"] if by_name else words(mode), folder, hooks())
            assert finished.process.exitcode == 0, (SEED, told, finished.output)
        assert digests(folder / "run") == expected, (SEED, told)
        assert not list(folder.rglob(".tmp-*"))
    print(f"\n{mode}: {kills} kills in {rounds} runs, {time.monotonic() - began:.0f} s")


def test_a_killed_report_leaves_whole_files_and_goes_on(tmp_path):
    trained = avi(words("amortized"), tmp_path / "whole", (without_report,))
    assert trained.process.exitcode == 0, trained.output
    shutil.copytree(tmp_path / "whole" / "run", tmp_path / "killed" / "run")
    whole = avi(GAP, tmp_path / "whole")
    assert whole.process.exitcode == 0, whole.output
    rng = random.Random(f"{SEED} report")
    # A report brings files to the disk some dozen times; the first kill strikes among the last.
    moments = [lambda: DieSaving(rng.randint(1, 12)), None, None]
    folder = tmp_path / "killed"
    for moment in moments * (5 if SOAK else 1):
        running = Avi(GAP, folder, (moment(),) if moment else ())
        if moment is None:
            time.sleep(rng.uniform(0.5, 1.0) * whole.seconds)
            if running.process.is_alive():
                running.send(signal.SIGKILL)
        assert running.wait() in (0, -signal.SIGKILL), (SEED, running.output)
        _require_whole_files(folder / "run")
    again = avi(GAP, folder)
    assert again.process.exitcode == 0, (SEED, again.output)
    for name in ("gap/points.csv", "config.yaml", "metrics.jsonl"):
        assert (folder / "run" / name).read_bytes() == (tmp_path / "whole/run" / name).read_bytes()


def _require_whole_files(run):
    for path in (*run.glob("*.json"), *run.glob("gap/*.json")):
        json.loads(path.read_text())
    for path in run.glob("report.html"):
        assert path.read_text().rstrip().endswith("</html>")
    for path in run.glob("gap/points.csv"):
        rows = path.read_text().splitlines()
        assert len(rows) == 5
        assert len({row.count(",") for row in rows}) == 1
