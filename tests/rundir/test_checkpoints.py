"""A checkpoint is whole or absent; what is damaged is named and never used."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as serialize

from avi.errors import CheckpointError, ResourceError
from avi.rundir import RunDir, checkpoints

ARRAYS = {
    ".step": np.asarray(7, np.int32),
    ".params.theta['bias']": np.linspace(-1, 1, 5, dtype=np.float32),
    ".params.phi['kernel']": np.arange(6, dtype=np.float64).reshape(2, 3).T,  # not C order
    ".opt_state.theta[0].mask": np.asarray([True, False]),
    ".opt_state.theta[0].empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path / "run")
    run.write_config({"seed": 0, "train": {"epochs": 1}})
    run.append_metrics([{"step": 0}])
    return run


def save(run: RunDir, step: int, keep_last: int = 3, **extra: object) -> Path:
    arrays = {**ARRAYS, ".step": np.asarray(step, np.int32)}
    return checkpoints.save(run, step, arrays, extra, keep_last=keep_last)


def test_arrays_come_back_bit_for_bit(run: RunDir) -> None:
    checkpoints.save(run, 7, ARRAYS, {"valid": -1.5}, keep_last=1)
    found = checkpoints.load(run)
    assert found.step == 7
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()
    assert found.manifest.extra == {"valid": -1.5}
    assert found.manifest.metrics_offset == run.metrics_path.stat().st_size
    assert found.manifest.timing_offset == 0
    assert found.damaged == []
    assert found.bit_exact


def test_the_newest_and_the_best_are_kept(run: RunDir) -> None:
    for step, valid in enumerate([-9.0, -5.0, -7.0, -8.0, -6.0]):
        save(run, 10 * step, keep_last=2, valid=valid)
    assert checkpoints.steps(run) == [10, 30, 40]
    assert checkpoints.load(run).step == 40
    assert checkpoints.load(run, step=10).arrays[".step"] == 10


def test_the_start_is_kept_only_while_it_is_among_the_newest(run: RunDir) -> None:
    for step in (0, 1, 2):
        save(run, step)
    assert checkpoints.steps(run) == [0, 1, 2]
    save(run, 3)
    assert checkpoints.steps(run) == [1, 2, 3]


def test_a_checkpoint_without_its_state_takes_no_place_among_the_newest(run: RunDir) -> None:
    save(run, 1)
    os.truncate(save(run, 2) / "state.safetensors", 10)
    save(run, 3, keep_last=2)
    assert checkpoints.steps(run) == [1, 3]


def test_saving_an_earlier_step_removes_the_course_that_was_abandoned(run: RunDir) -> None:
    save(run, 1)
    damage(save(run, 2) / "state.safetensors")
    assert checkpoints.load(run).step == 1
    save(run, 1, keep_last=1, valid=-2.0)
    assert checkpoints.steps(run) == [1]
    assert checkpoints.load(run).manifest.extra == {"valid": -2.0}


def test_saving_a_damaged_step_again_mends_it(run: RunDir) -> None:
    damage(save(run, 2) / "state.safetensors")
    save(run, 2)
    assert checkpoints.load(run).damaged == []


def test_extending_a_run_keeps_its_checkpoints_and_another_seed_does_not(run: RunDir) -> None:
    save(run, 1)
    run.write_config({"seed": 0, "train": {"epochs": 100}})
    assert checkpoints.load(run).step == 1
    run.write_config({"seed": 1, "train": {"epochs": 100}})
    with pytest.raises(CheckpointError, match="another configuration"):
        checkpoints.load(run)


def test_a_run_without_checkpoints_says_so(run: RunDir) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoints.load(run)
    save(run, 1)
    save(run, 2)
    with pytest.raises(CheckpointError, match="it has 1, 2"):
        checkpoints.load(run, step=3)


def test_a_dtype_that_the_file_cannot_hold_is_a_bug_at_once(run: RunDir) -> None:
    with pytest.raises(TypeError, match="complex64"):
        checkpoints.save(run, 1, {"z": np.zeros(2, np.complex64)}, {}, keep_last=1)


# --- damage ---------------------------------------------------------------------------------------


def damage(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def edit_manifest(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def forge(folder: Path, state: bytes, **fields: object) -> None:
    """Replace the state by another with a matching size and hash: damage becomes malice."""
    (folder / "state.safetensors").write_bytes(state)
    digest = hashlib.sha256(state).hexdigest()
    edit_manifest(folder, num_bytes=len(state), sha256=digest, **fields)


def header(text: str, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + data


TENSORS = {name: [list(a.shape), a.dtype.name] for name, a in ARRAYS.items()}
DAMAGES = {
    "state missing": lambda d: (d / "state.safetensors").unlink(),
    "state empty": lambda d: (d / "state.safetensors").write_bytes(b""),
    "state shorter": lambda d: os.truncate(d / "state.safetensors", 100),
    "state longer": lambda d: os.truncate(
        d / "state.safetensors", (d / "state.safetensors").stat().st_size + 1
    ),
    "first bit": lambda d: damage(d / "state.safetensors", 0),
    "last bit": lambda d: damage(d / "state.safetensors"),
    "state a folder": lambda d: (
        (d / "state.safetensors").unlink(),
        (d / "state.safetensors").mkdir(),
    ),
    "state a pipe": lambda d: (
        (d / "state.safetensors").unlink(),
        os.mkfifo(d / "state.safetensors"),
    ),
    "manifest missing": lambda d: (d / "manifest.json").unlink(),
    "manifest empty": lambda d: (d / "manifest.json").write_bytes(b""),
    "manifest torn": lambda d: os.truncate(d / "manifest.json", 50),
    "manifest a list": lambda d: (d / "manifest.json").write_text("[]"),
    "manifest nested": lambda d: (d / "manifest.json").write_text("[" * 100_000),
    "manifest giant": lambda d: os.truncate(d / "manifest.json", 2**40),
    "field missing": lambda d: (d / "manifest.json").write_text('{"step": 2}'),
    "field unknown": lambda d: edit_manifest(d, run="rm -rf"),
    "wrong step": lambda d: edit_manifest(d, step=3),
    "step a truth value": lambda d: edit_manifest(d, step=True),
    "step negative": lambda d: edit_manifest(d, step=-2),
    "offset text": lambda d: edit_manifest(d, metrics_offset="0"),
    "hash text": lambda d: edit_manifest(d, sha256="abc"),
    "config hash null": lambda d: edit_manifest(d, config_sha256=None),
    "versions a list": lambda d: edit_manifest(d, versions=[]),
    "extra a list": lambda d: edit_manifest(d, extra=[]),
    "tensors a list": lambda d: edit_manifest(d, tensors=[]),
    "tensor without dtype": lambda d: edit_manifest(d, tensors={"a": [[1]]}),
    "dtype object": lambda d: edit_manifest(d, tensors={"a": [[1], "object"]}),
    "dtype a list": lambda d: edit_manifest(d, tensors={"a": [[1], []]}),
    "shape negative": lambda d: edit_manifest(d, tensors={"a": [[-1], "int8"]}),
    "shape immense": lambda d: edit_manifest(d, tensors={"a": [[2**40, 2**40], "int8"]}),
    "bytes immense": lambda d: edit_manifest(d, num_bytes=2**52, tensors={"a": [[2**52], "uint8"]}),
    "other name": lambda d: edit_manifest(d, tensors={**TENSORS, ".step2": [[], "int32"]}),
    "other shape": lambda d: edit_manifest(d, tensors={**TENSORS, ".step": [[1], "int32"]}),
    "other dtype": lambda d: edit_manifest(d, tensors={**TENSORS, ".step": [[], "float32"]}),
    "header immense": lambda d: forge(d, (2**63).to_bytes(8, "little"), tensors={}),
    "header no json": lambda d: forge(d, header("{"), tensors={}),
    "header only text": lambda d: forge(d, header('"a"'), tensors={}),
    "header beyond data": lambda d: forge(
        d,
        header('{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}', b"\0"),
        tensors={"a": [[9], "uint8"]},
    ),
    "header overlap": lambda d: forge(
        d,
        header(
            '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
            '"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
            b"\0\0\0\0",
        ),
        tensors={"a": [[2], "uint8"], "b": [[2], "uint8"]},
    ),
    "header unknown dtype": lambda d: forge(
        d,
        header('{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}', b"\0\0"),
        tensors={"a": [[1], "uint16"]},
    ),
    "other arrays": lambda d: forge(d, serialize({"a": np.zeros(3)})),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_passed_over_or_refused(run: RunDir, name: str) -> None:
    save(run, 1)
    DAMAGES[name](save(run, 2))
    found = checkpoints.load(run)
    assert found.step == 1
    assert len(found.damaged) == 1
    assert re.search("checkpoints/00000002 is not usable: .+", found.damaged[0])
    with pytest.raises(CheckpointError, match="resume_damaged=skip"):
        checkpoints.load(run, on_damage="fail")
    shutil.rmtree(run.checkpoints_path / "00000001")
    with pytest.raises(CheckpointError, match="no usable checkpoint among 2"):
        checkpoints.load(run)


def test_no_flipped_bit_and_no_truncation_goes_unnoticed(run: RunDir) -> None:
    # Every place of both files: a manifest's change is refused or changes nothing that is used.
    folder = save(run, 1)
    state = (folder / "state.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    for place in range(len(state)):
        flipped = bytearray(state)
        flipped[place] ^= 1 << rng.integers(8)
        (folder / "state.safetensors").write_bytes(flipped)
        with pytest.raises(CheckpointError):
            checkpoints.load(run)
    for length in range(len(state)):
        (folder / "state.safetensors").write_bytes(state[:length])
        with pytest.raises(CheckpointError):
            checkpoints.load(run)


def test_a_flipped_bit_in_the_manifest_never_changes_an_array(run: RunDir) -> None:
    folder = save(run, 1)
    manifest = (folder / "manifest.json").read_bytes()
    expected = {name: array.tobytes() for name, array in checkpoints.load(run).arrays.items()}
    rng = np.random.default_rng(0)
    for place in range(len(manifest)):
        flipped = bytearray(manifest)
        flipped[place] ^= 1 << rng.integers(8)
        (folder / "manifest.json").write_bytes(flipped)
        try:
            found = checkpoints.load(run).arrays
        except CheckpointError:
            continue
        assert {name: array.tobytes() for name, array in found.items()} == expected


# --- interruption ---------------------------------------------------------------------------------

DISTURBED = ("mkdir", "fsync", "replace")


def test_an_error_at_every_point_of_a_save_keeps_the_previous_checkpoint(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1)
    for point in range(100):
        with monkeypatch.context() as patched:
            counter = iter(range(1000))
            for name in DISTURBED:
                patched.setattr(os, name, full_disk_at(point, counter, getattr(os, name)))
            message = refusal(run)
        if next(counter) <= point:
            break  # the save had fewer points than this
        assert message is None or re.search("No space left.*bytes free", message)
        found = checkpoints.load(run)
        assert found.arrays[".step"] == found.step
        assert found.damaged == []
        assert not list(run.checkpoints_path.glob(".tmp-*"))
        shutil.rmtree(run.checkpoints_path / "00000002", ignore_errors=True)
    assert point > 6
    assert message is None
    assert checkpoints.load(run).step == 2


def refusal(run: RunDir) -> str | None:
    try:
        save(run, 2)
    except ResourceError as error:
        return str(error)
    return None


def full_disk_at(point: int, counter: object, function: object) -> object:
    def maybe(*arguments: object, **options: object) -> object:
        if next(counter) == point:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*arguments, **options)

    return maybe


KILL_AT_EVERY_POINT = """
import os, sys, signal, shutil
from pathlib import Path
import numpy as np
from avi.rundir import RunDir, checkpoints

run = RunDir.open(Path(sys.argv[1]))

def die_at(point):
    counter = iter(range(1000))
    def wrap(function):
        def maybe(*arguments, **options):
            if next(counter) == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return maybe
    for name in ("mkdir", "fsync", "replace", "rmdir", "unlink", "write"):
        setattr(os, name, wrap(getattr(os, name)))

for point in range(100):
    child = os.fork()
    if child == 0:
        die_at(point)
        # keep_last=1 and a damaged 2: the save also replaces and prunes.
        checkpoints.save(run, 2, {".step": np.asarray(2)}, {}, keep_last=1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found = checkpoints.load(run)
    assert found.arrays[".step"] == found.step
    if os.waitstatus_to_exitcode(status) == 0:
        assert checkpoints.steps(run) == [2]
        print(point)
        break
    with run.locked():
        assert not list(run.path.rglob(".tmp-*"))
    if found.step == 2:
        shutil.rmtree(run.checkpoints_path)
        checkpoints.save(run, 1, {".step": np.asarray(1)}, {}, keep_last=1)
        (run.checkpoints_path / "00000002").mkdir()
"""


def test_a_kill_at_every_point_of_a_save_keeps_a_whole_checkpoint(run: RunDir) -> None:
    checkpoints.save(run, 1, {".step": np.asarray(1)}, {}, keep_last=1)
    (run.checkpoints_path / "00000002").mkdir()
    run.release()
    command = [sys.executable, "-c", KILL_AT_EVERY_POINT, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 6


def test_a_file_larger_than_the_limit_of_the_process_is_a_resource_error(run: RunDir) -> None:
    save(run, 1)
    run.release()
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from avi.errors import ResourceError
from avi.rundir import RunDir, checkpoints
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    run = RunDir.open(Path(sys.argv[1]))
    checkpoints.save(run, 2, {"a": np.zeros(10_000)}, {}, keep_last=1)
except ResourceError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stdout
    assert checkpoints.load(run).step == 1
    assert not list(run.checkpoints_path.glob(".tmp-*"))


def test_the_best_is_that_of_the_largest_validation_bound(tmp_path):
    with RunDir.create(tmp_path / "run") as run:
        run.write_config({"seed": 0})
        with pytest.raises(CheckpointError, match=r"Leave out checkpoint=best"):
            checkpoints.best(run)
        for step, valid in ((0, None), (10, -5.0), (20, -3.0), (30, -4.0), (40, None)):
            checkpoints.save(run, step, {"x": np.zeros(1)}, {"valid": valid}, keep_last=9)
        assert checkpoints.best(run) == 20
