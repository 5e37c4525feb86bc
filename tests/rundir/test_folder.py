"""A run folder belongs to one process, keeps what it was given, and says why it refuses."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from avi.errors import BusyError, CheckpointError, ConfigError, ResourceError
from avi.rundir import RunDir, atomic_write, folder

TREE = {"seed": 0, "model": {"width": 8, "scale": 1e-3}, "words": ["a", "b"], "none": None}

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from avi.rundir import RunDir
run = RunDir.open(Path(sys.argv[1])).locked()
print("held", flush=True)
sys.stdin.read()
"""


def make_run(path: Path) -> RunDir:
    run = RunDir.create(path)
    run.write_config(TREE)
    return run


def test_the_config_comes_back_as_plain_yaml(tmp_path: Path) -> None:
    shared = {"width": 8}
    run = RunDir.create(tmp_path / "run")
    run.write_config({"first": shared, "second": shared, "word": "ü"})
    text = run.config_path.read_text()
    assert "&" not in text
    assert "ü" in text
    assert yaml.safe_load(text) == {"first": shared, "second": shared, "word": "ü"}
    assert len(run.config_sha256()) == 64


def test_run_json_is_updated_field_by_field(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.update_run(status="running", starts=[1])
    run.update_run(status="done")
    assert run.read_run() == {"status": "done", "starts": [1]}


def test_a_folder_with_files_is_not_overwritten_unasked(tmp_path: Path) -> None:
    make_run(tmp_path / "run").release()
    with pytest.raises(BusyError, match=r"resume=.*overwrite=true"):
        RunDir.create(tmp_path / "run")
    assert RunDir.open(tmp_path / "run").config_path.is_file()


def test_overwrite_starts_from_an_empty_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.append_metrics([{"step": 1}])
    run.checkpoints_path.mkdir()
    (run.checkpoints_path / "x").touch()
    run.release()
    with RunDir.create(tmp_path / "run", overwrite=True) as again:
        assert sorted(entry.name for entry in again.path.iterdir()) == [".lock"]


def test_overwrite_never_deletes_what_is_not_ours(tmp_path: Path) -> None:
    make_run(tmp_path / "run").release()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=re.escape("thesis.tex")):
        RunDir.create(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "config.yaml").exists()


def test_overwrite_removes_a_link_but_not_what_it_leads_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keep").touch()
    make_run(tmp_path / "run").release()
    (tmp_path / "run" / "gap").symlink_to(elsewhere)
    RunDir.create(tmp_path / "run", overwrite=True)
    assert (elsewhere / "keep").exists()


def test_an_empty_folder_or_a_stale_lock_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("torn")
    RunDir.create(tmp_path)


def test_the_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    make_run(tmp_path).release()
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=rf"process {holder.pid} on '{os.uname().nodename}'"):
            RunDir.open(tmp_path).locked()
        with pytest.raises(BusyError):
            RunDir.create(tmp_path, overwrite=True)
        holder.kill()
    RunDir.open(tmp_path).locked().release()  # the kernel let go when the holder died


def test_taking_the_lock_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.release()
    (tmp_path / ".tmp-0123").write_text("half")
    (run.checkpoints_path / ".tmp-00000002-ab").mkdir(parents=True)
    with run.locked():
        assert not list(tmp_path.rglob(".tmp-*"))


def test_a_run_that_begins_removes_what_one_that_was_killed_at_once_left(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123").write_text("half a config.yaml")
    with RunDir.create(tmp_path):
        assert not list(tmp_path.rglob(".tmp-*"))


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    make_run(tmp_path / "run").release()
    (tmp_path / "run" / ".lock").unlink()
    (tmp_path / "run" / ".lock").symlink_to(victim)
    with pytest.raises(ResourceError):
        RunDir.open(tmp_path / "run").locked()
    assert victim.read_text() == "precious"


def test_logs_and_checkpoints_that_are_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    run = make_run(tmp_path / "run")
    run.metrics_path.symlink_to(victim)
    with pytest.raises(ConfigError, match="symbolic link"):
        run.append_metrics([{"step": 1}])
    with pytest.raises(ConfigError, match="symbolic link"):
        run.truncate_metrics(0)
    run.release()
    run.checkpoints_path.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="symbolic link"):
        run.locked()
    assert victim.read_text() == "precious\n"


@pytest.mark.parametrize("name", ["ü=1,b 空", "x" * 200])
def test_any_folder_name_the_disk_accepts_works(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / name)
    run.append_metrics([{"step": 1}])
    run.release()
    assert RunDir.open(tmp_path / name).metrics() == [{"step": 1}]


def test_a_name_that_is_too_long_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="shorter name"):
        RunDir.create(tmp_path / ("x" * 300))


def test_what_is_not_a_run_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run folder"):
        RunDir.open(tmp_path / "absent")
    with pytest.raises(ConfigError, match=re.escape("no config.yaml")):
        RunDir.open(tmp_path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    atomic_write(tmp_path / "file", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(ResourceError, match=r"file: No space left on device \(\d+ bytes free\)"):
        atomic_write(tmp_path / "file", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ResourceError, match="folder you can write to"):
        RunDir.create(tmp_path / "run")


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="file"):
        RunDir.create(tmp_path / "file" / "run")


def test_more_than_the_disk_holds_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "free_bytes", lambda path: 1000)
    run = RunDir(tmp_path)
    run.require_free(1000)
    with pytest.raises(ResourceError, match="needs about 1001 bytes, but its disk has 1000 free"):
        run.require_free(1001)


def test_metrics_come_back_as_written(tmp_path: Path) -> None:
    import numpy as np

    run = make_run(tmp_path)
    run.append_metrics(
        [{"step": np.int64(1), "value": np.float32(0.5)}, {"step": 2, "value": -1e300}]
    )
    run.append_metrics([{"step": 3, "word": "ü"}])
    expected = [{"step": 1, "value": 0.5}, {"step": 2, "value": -1e300}, {"step": 3, "word": "ü"}]
    assert run.metrics() == expected
    assert run.metrics_path.read_bytes().endswith(b"\n")


def test_numbers_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.append_metrics([{"step": 1}])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON compliant"):
            run.append_metrics([{"step": 2}, {"value": bad}])
    assert run.metrics() == [{"step": 1}]


LINES = b'{"step": 1}\n{"step": 2, "value": {"mean": -1.5}}\n'


@pytest.mark.parametrize("length", range(len(LINES) + 1))
def test_a_log_torn_anywhere_gives_its_whole_lines_and_can_be_continued(
    tmp_path: Path, length: int
) -> None:
    run = RunDir(tmp_path)
    run.metrics_path.write_bytes(LINES[:length])
    whole = [json.loads(line) for line in LINES.splitlines(keepends=True)]
    # A line is complete once its last brace is written; the line break may be missing.
    count = sum(length >= end for end in (len(b'{"step": 1}'), len(LINES) - 1))
    assert run.metrics() == whole[:count]
    run.append_metrics([{"step": 9}])
    assert run.metrics() == [*whole[:count], {"step": 9}]


@pytest.mark.parametrize("line", [b"[1]", b"NaN", b'{"a": NaN}', b"\xff", b"[" * 100_000, b""])
def test_a_line_that_no_writer_of_ours_leaves_is_refused_by_number(
    tmp_path: Path, line: bytes
) -> None:
    run = RunDir(tmp_path)
    run.metrics_path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(ConfigError, match="line 2"):
        run.metrics()


def test_truncation_restores_the_log_of_the_checkpoint(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.append_metrics([{"step": 1}])
    offset = run.metrics_path.stat().st_size
    run.append_metrics([{"step": 2}])
    run.truncate_metrics(offset)
    assert run.metrics() == [{"step": 1}]
    with pytest.raises(CheckpointError, match="lines are missing"):
        run.truncate_metrics(offset + 1)


def test_truncating_a_log_that_was_never_written_to_zero_is_nothing(tmp_path: Path) -> None:
    RunDir(tmp_path).truncate_timing(0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x",
        "!!python/object/apply:os.system ['true']",
        "a: [",
        "- 1",
        "[" * 50,
        "a: " + "[" * 3000,
        "".join(" " * depth + "a:\n" for depth in range(40)),
        "a: .nan",
        "a: 1" + "0" * 30,
        'a: "\\uD800"',
        "a: 2001-01-01",
        "a: ${oc.env:HOME}",
        "_recursive_: true",
        "a: 1\n" * 20000,
        "\x00",
        b"\xff\xfe\xff",
    ],
)
def test_a_config_that_is_not_plain_yaml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    run = RunDir(tmp_path)
    run.config_path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=re.escape("config.yaml")):
        run.config_sha256()


def test_a_pipe_or_a_giant_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    os.mkfifo(run.metrics_path)
    with pytest.raises(ConfigError, match="not a regular file"):
        run.metrics()
    with open(run.timing_path, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match="expected at most"):
        run.timing()
    run.run_path.mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        run.read_run()
    os.mkfifo(run.config_path)
    with pytest.raises(ConfigError, match="not a regular file"):
        run.config_sha256()


@pytest.mark.parametrize("text", ['{"starts": 1}', '{"choices": [1]}', '{"status": null}', "[]"])
def test_a_run_json_of_other_types_is_refused(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path)
    run.run_path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape("run.json")):
        run.read_run()


@pytest.mark.parametrize("name", folder.CONTENTS)
def test_a_run_with_a_link_in_it_is_not_opened(tmp_path: Path, name: str) -> None:
    make_run(tmp_path / "run").release()
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "run" / name
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="symbolic link"):
        RunDir.open(tmp_path / "run")


def test_a_folder_whose_writer_died_before_its_config_can_be_taken_again(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run").release()
    (tmp_path / "run" / ".tmp-0123").write_text("half a config")
    make_run(tmp_path / "run")


def test_reading_a_run_imports_no_jax() -> None:
    code = "import sys, avi.rundir, avi.rundir.checkpoints; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
