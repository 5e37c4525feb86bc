"""Full disks, folders without rights, no HOME, nobody listening, no memory, two at once."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import jax
import pytest
from faults.hooks import (
    LargestFile,
    Slow,
    on_one_core,
    out_of_memory,
    without_home_or_listener,
    without_report,
    without_rights,
)
from faults.processes import MODES, TINY, Avi, avi, digests

from avi.engine.devices import cores
from avi.errors import BusyError, ResourceError
from avi.process.outcome import explain
from avi.rundir import RunDir, checkpoints, instruction_set, new_run_name, versions

WORDS = ["train", "output=run", *TINY, *MODES["amortized"], "train.epochs=6"]
# 70 kB of metrics: more than any other file, which fit below the limit.
LONG = ["train.epochs=60", "train.log_every=1", "train.save_every=4", "train.keep_last=1"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    running = avi(WORDS, folder, (without_report,))
    assert running.process.exitcode == 0, running.output
    return digests(folder / "run")


def test_a_log_that_the_disk_cannot_hold_ends_with_6_and_goes_on_later(tmp_path):
    full = avi([*WORDS, *LONG], tmp_path, (without_report, LargestFile(40_000)))
    assert full.process.exitcode == ResourceError.exit_code, full.output
    assert "metrics.jsonl" in full.output
    assert "bytes free" in full.output
    run = RunDir.open(tmp_path / "run")
    assert run.read_run()["status"] == "failed"
    assert run.read_run()["starts"][-1]["status"] == "failed"
    assert checkpoints.load(run).damaged == []
    assert not list(run.path.rglob(".tmp-*"))
    assert avi([*WORDS, *LONG], tmp_path, (without_report,)).process.exitcode == 0
    assert avi([*WORDS, *LONG, "output=whole"], tmp_path, (without_report,)).process.exitcode == 0
    assert digests(run.path) == digests(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 100 KiB, where that is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "avi-test", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_the_last_checkpoint_and_says_what_is_full(small_disk, tmp_path):
    words = [*WORDS, f"output={small_disk / 'run'}", *LONG]
    full = avi(words, tmp_path, (without_report,))
    assert full.process.exitcode == ResourceError.exit_code, full.output
    assert os.strerror(errno.ENOSPC) in full.output
    assert str(small_disk / "run") in full.output
    assert checkpoints.load(RunDir.open(small_disk / "run")).damaged == []
    shutil.copytree(small_disk / "run", tmp_path / "run")
    assert avi([*WORDS, *LONG], tmp_path, (without_report,)).process.exitcode == 0


def test_a_folder_without_rights_is_refused_with_advice():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "theirs").mkdir()
        (folder / "theirs").chmod(0o555)
        ended = avi([*WORDS, "output=theirs/run"], folder, (without_rights, without_report))
        assert ended.process.exitcode == ResourceError.exit_code, ended.output
        assert "Choose a folder you can write to" in ended.output
        assert not list((folder / "theirs").iterdir())


@pytest.mark.parametrize(
    "words", [[*WORDS, "output="], ["train", "resume="], ["gap", "run="], ["compare", ""]]
)
def test_a_name_too_long_is_refused(words, tmp_path):
    ended = avi([*words[:-1], words[-1] + "n" * 300], tmp_path)
    assert ended.process.exitcode == ResourceError.exit_code, ended.output
    assert os.strerror(errno.ENAMETOOLONG) in ended.output


def test_no_home_nobody_listening_and_a_strange_name_change_nothing(uninterrupted, tmp_path):
    folder = tmp_path / "ü=1,b 空 'q' ${x} [y]"
    name = "läufe/a=b, c 'd' {e}"
    hooks = (without_home_or_listener, without_report)
    ended = avi([*WORDS, f"output={name}"], folder, hooks)
    assert ended.process.exitcode == 0, ended.output
    assert digests(folder / name) == uninterrupted
    again = avi(["train", f"resume={name}", "train.epochs=7"], folder, hooks)
    assert again.process.exitcode == 0, again.output
    assert digests(folder / name)["step"] > uninterrupted["step"]


def test_an_extended_run_is_the_longer_run(uninterrupted, tmp_path):
    assert avi([*WORDS, "train.epochs=2"], tmp_path, (without_report,)).process.exitcode == 0
    ended = avi(["train", "resume=run", "train.epochs=6"], tmp_path, (without_report,))
    assert ended.process.exitcode == 0, ended.output
    first, second = RunDir.open(tmp_path / "run").read_run()["starts"]
    assert first["step"] == 0 < second["step"]
    for start in (first, second):
        assert (start["status"], start["versions"]) == ("done", versions())
        assert start["instruction_set"] == instruction_set()
        assert start["time"] <= start["ended"]
    assert digests(tmp_path / "run") == uninterrupted
    changed = ["train", "resume=run", "model.latent_size=3", "optimizer.phi.learning_rate=1"]
    refused = avi(changed, tmp_path, (without_report,))
    assert refused.process.exitcode == 2
    assert "model.latent_size: 2 -> 3" in refused.output
    fewer = avi(["train", "resume=run", "train.epochs=2"], tmp_path, (without_report,))
    assert fewer.process.exitcode == 2
    assert "has trained 6 epochs already" in fewer.output
    assert digests(tmp_path / "run") == uninterrupted
    # T24: the newest checkpoint is damaged, then all of them.
    newest, *others = sorted((tmp_path / "run" / "checkpoints").iterdir(), reverse=True)
    os.truncate(newest / "state.safetensors", 100)
    failed = avi(["train", "resume=run", "resume_damaged=fail"], tmp_path, (without_report,))
    assert failed.process.exitcode == 4
    assert "resume_damaged=skip" in failed.output
    mended = avi(["train", "resume=run"], tmp_path, (without_report,))
    assert mended.process.exitcode == 0
    assert "is not usable" in mended.output
    assert digests(tmp_path / "run") == uninterrupted
    for folder in (newest, *others):
        (folder / "manifest.json").write_bytes(b"")
    lost = avi(["train", "resume=run"], tmp_path, (without_report,))
    assert lost.process.exitcode == 4
    assert "no usable checkpoint" in lost.output


@pytest.mark.parametrize("mistake", ["train.start=nowhere", "dataset.device_budget=1"])
def test_a_mistake_leaves_nothing_that_stands_in_the_way_of_the_right_command(mistake, tmp_path):
    refused = avi([*WORDS, mistake], tmp_path, (without_report,))
    assert refused.process.exitcode == 2, refused.output
    ended = avi([*WORDS, "train.epochs=1"], tmp_path, (without_report,))
    assert ended.process.exitcode == 0, ended.output


@pytest.mark.skipif(len(cores()) == 1, reason="there is no other number of cores here")
def test_a_run_that_goes_on_with_other_cores_says_that_its_bits_may_differ(tmp_path):
    """How many cores share a product decides the last bits of its sums."""
    longer = ["train", "resume=run", "train.epochs=7"]
    assert avi(WORDS, tmp_path, (without_report,)).process.exitcode == 0
    same = avi(longer, tmp_path, (without_report,))
    assert "not bit-exact" not in same.output
    assert RunDir.open(tmp_path / "run").read_run()["bit_exact"] is True
    fewer = avi([*longer, "train.epochs=8"], tmp_path, (without_report, on_one_core))
    assert fewer.process.exitcode == 0, fewer.output
    assert "not bit-exact" in fewer.output
    run = RunDir.open(tmp_path / "run").read_run()
    assert (run["bit_exact"], run["device"]) == (False, "cpu, 1 core")


def test_the_second_process_is_refused_and_the_death_of_the_first_lets_it_in(tmp_path):
    slow = Slow("avi.run.recorder", "Recorder.train_lines", 30)
    first = Avi(WORDS, tmp_path, (without_report, slow))
    first.wait_for("Recorder.train_lines begins")
    for words in (WORDS, [*WORDS, "overwrite=true"]):
        second = avi(words, tmp_path, (without_report,))
        assert second.process.exitcode == BusyError.exit_code, second.output
        assert f"in use by process {first.process.pid} on" in second.output
    first.send(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert avi(WORDS, tmp_path, (without_report,)).process.exitcode == 0
    third = avi(WORDS, tmp_path, (without_report,))
    assert third.process.exitcode == BusyError.exit_code
    assert "overwrite=true" in third.output


def test_of_many_that_begin_at_once_one_gets_the_folder(tmp_path):
    got, refused = [], []
    barrier = threading.Barrier(8)

    def begin():
        barrier.wait()
        try:
            got.append(RunDir.create(tmp_path / "run"))
        except BusyError:
            refused.append(1)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    assert len({new_run_name("vae", "amortized", "digits") for _ in range(20)}) > 1


def test_lack_of_memory_names_the_settings_that_need_less(tmp_path, capsys):
    ended = avi(WORDS, tmp_path, (without_report, out_of_memory))
    assert ended.process.exitcode == ResourceError.exit_code
    assert "8589934592 bytes were asked for" in ended.output
    assert "train.batch_size" in ended.output
    assert "gap.width" in ended.output
    assert explain(jax.errors.JaxRuntimeError("INTERNAL: something else"), tmp_path) == 1
    assert explain(MemoryError()) == ResourceError.exit_code
    capsys.readouterr()
