"""Checkpoints: one folder per step, committed by a rename and verified by hashes.

    checkpoints/00000200/state.safetensors   the arrays
    checkpoints/00000200/manifest.json       size, SHA-256, shapes, dtypes, config, versions

The state holds no random key and no position in the data: both follow from the seed and the step.
The hashes find damage, not malice; nothing that is read here can run code either way.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from avi.errors import CheckpointError, ConfigError
from avi.rundir import records
from avi.rundir.bounded import read_bounded
from avi.rundir.files import (
    TEMPORARY,
    atomic_write,
    refuse_link,
    resource_errors,
    sync_folder,
    write_synced,
)
from avi.rundir.folder import RunDir
from avi.rundir.machine import instruction_set, versions
from avi.rundir.manifest import DTYPES, DamagedError, Manifest, parse_manifest

STATE = "state.safetensors"
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 2**24  # bytes
_STEP = re.compile(r"[0-9]{8,12}")


class Checkpoint(NamedTuple):
    """A verified checkpoint, and one sentence for each damaged one that was passed over."""

    step: int
    arrays: dict[str, np.ndarray]
    manifest: Manifest
    damaged: list[str]

    @property
    def bit_exact(self) -> bool:
        """Whether continuing here gives the same bits: same versions, same instruction set."""
        here = versions(), instruction_set()
        return here == (self.manifest.versions, self.manifest.instruction_set)


def save(
    run: RunDir,
    step: int,
    arrays: Mapping[str, np.ndarray],
    extra: Mapping[str, Any],
    *,
    keep_last: int,
) -> Path:
    """Commit a checkpoint; of the others keep the newest, `keep_last` in all, and the best.

    A crash at any moment leaves either nothing under the step's name or the whole checkpoint.
    Checkpoints of later steps belong to a course of the run that was abandoned and are removed.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    state = _encode_state(arrays)
    manifest = Manifest(
        step=step,
        num_bytes=len(state),
        sha256=hashlib.sha256(state).hexdigest(),
        tensors={name: [list(array.shape), array.dtype.name] for name, array in arrays.items()},
        config_sha256=run.config_sha256(),
        versions=versions(),
        instruction_set=instruction_set(),
        metrics_offset=records.sync(run.metrics_path),
        timing_offset=records.sync(run.timing_path),
        extra=dict(extra),
    )
    target = _folder(run, step)
    refuse_link(target.parent)
    with resource_errors(target):
        target.parent.mkdir(exist_ok=True)
        sync_folder(run.path)
        if _holds(target, manifest):
            atomic_write(target / MANIFEST, manifest.encode())
        else:
            _commit(target, state, manifest.encode())
        _prune(run, step, keep_last)
    return target


def _encode_state(arrays: Mapping[str, np.ndarray]) -> bytes:
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES.values():
            raise TypeError(f"{name} has dtype {array.dtype}, which a checkpoint cannot hold.")
    return safetensors.numpy.save(dict(arrays))


def _commit(target: Path, state: bytes, manifest: bytes) -> None:
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{secrets.token_hex(8)}")
    replaced = temporary.with_name(f"{temporary.name}-replaced")
    try:
        temporary.mkdir()
        write_synced(temporary / STATE, state)
        write_synced(temporary / MANIFEST, manifest)
        sync_folder(temporary)
        if target.exists():
            os.replace(target, replaced)
        os.replace(temporary, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _holds(folder: Path, manifest: Manifest) -> bool:
    """Whether the checkpoint in `folder` already has, undamaged, the arrays of `manifest`."""
    try:
        _read_state(folder, manifest)
    except DamagedError:
        return False
    return True


def _prune(run: RunDir, newest: int, keep_last: int) -> None:
    whole = _whole(run, newest)
    keep = {*list(whole)[-keep_last:], _best(whole), newest}
    for step in steps(run):
        if step not in keep:
            shutil.rmtree(_folder(run, step), ignore_errors=True)


def steps(run: RunDir) -> list[int]:
    """Return the steps that have a checkpoint, valid or not, in ascending order."""
    folder = run.checkpoints_path
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if _STEP.fullmatch(entry.name))


def best(run: RunDir) -> int:
    """Return the step of the checkpoint with the largest validation bound.

    Raises:
        CheckpointError: none of the checkpoints has one.
    """
    available = steps(run)
    found = _best(_whole(run, available[-1])) if available else None
    if found is None:
        raise CheckpointError(
            f"{run.path} has no checkpoint with a validation bound: there is one where "
            "train.eval_every and train.save_every fall on one epoch. Leave out checkpoint=best."
        )
    return found


def _best(manifests: Mapping[int, Manifest]) -> int | None:
    """Return the step with the largest validation bound, if any was recorded."""
    valid = {step: manifest.extra.get("valid") for step, manifest in manifests.items()}
    scored = {step: bound for step, bound in valid.items() if bound is not None}
    return max(scored, key=scored.__getitem__) if scored else None


def _whole(run: RunDir, newest: int) -> dict[int, Manifest]:
    """Return the manifests up to step `newest` whose state has the recorded size, by step."""
    found = {}
    for step in steps(run):
        folder = _folder(run, step)
        try:
            manifest = _read_manifest(folder)
            if step <= newest and (folder / STATE).stat().st_size == manifest.num_bytes:
                found[step] = manifest
        except (DamagedError, OSError):
            continue
    return found


def load(
    run: RunDir, step: int | None = None, on_damage: Literal["skip", "fail"] = "skip"
) -> Checkpoint:
    """Return the newest valid checkpoint, or that of `step`.

    Raises:
        CheckpointError: none is valid, or a damaged one was met under `on_damage="fail"`.
    """
    available = steps(run)
    if not available:
        raise CheckpointError(f"{run.path} has no checkpoint. Start the run again in a new folder.")
    if step is not None and step not in available:
        raise CheckpointError(
            f"{run.path} has no checkpoint of step {step}; it has {_listed(available)}."
        )
    config_sha256 = run.config_sha256()
    damaged: list[str] = []
    for candidate in reversed(available) if step is None else [step]:
        folder = _folder(run, candidate)
        try:
            manifest, arrays = _read_checkpoint(folder, config_sha256)
        except DamagedError as error:
            damaged.append(f"Checkpoint {folder} is not usable: {error}.")
            if on_damage == "fail":
                damaged.append("resume_damaged=skip continues from the newest that is whole.")
                break
        else:
            return Checkpoint(candidate, arrays, manifest, damaged)
    else:
        damaged.append(f"{run.path} has no usable checkpoint among {_listed(available)}.")
    raise CheckpointError("\n".join(damaged))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _folder(run: RunDir, step: int) -> Path:
    return run.checkpoints_path / f"{step:08d}"


def _read_checkpoint(folder: Path, config_sha256: str) -> tuple[Manifest, dict[str, np.ndarray]]:
    manifest = _read_manifest(folder)
    if manifest.config_sha256 != config_sha256:
        raise DamagedError("it was saved under another configuration than config.yaml")
    return manifest, _read_state(folder, manifest)


def _read_manifest(folder: Path) -> Manifest:
    return parse_manifest(_read(folder / MANIFEST, MANIFEST_LIMIT), step=int(folder.name))


def _read_state(folder: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    if manifest.num_bytes > _memory() // 4:
        raise DamagedError(f"{STATE} claims {manifest.num_bytes} bytes, more than fit in memory")
    state = _read(folder / STATE, manifest.num_bytes)
    if len(state) != manifest.num_bytes:
        raise DamagedError(f"{STATE} has {len(state)} bytes; expected {manifest.num_bytes}")
    if hashlib.sha256(state).hexdigest() != manifest.sha256:
        raise DamagedError(f"the SHA-256 of {STATE} is not the recorded one")
    try:
        arrays = dict(_decode(name, tensor) for name, tensor in safetensors.deserialize(state))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise DamagedError(f"{STATE} is not what was saved ({error})") from error
    if {name: [list(a.shape), a.dtype.name] for name, a in arrays.items()} != manifest.tensors:
        raise DamagedError(f"{STATE} holds other arrays than its manifest says")
    return arrays


def _decode(name: str, tensor: Mapping[str, Any]) -> tuple[str, np.ndarray]:
    flat = np.frombuffer(tensor["data"], dtype=DTYPES[tensor["dtype"]])
    return name, flat.reshape(tensor["shape"])


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_bounded(path, limit)
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    except ConfigError as error:
        raise DamagedError(str(error).rstrip(".")) from error


def _memory() -> int:
    """Return the bytes of physical memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
