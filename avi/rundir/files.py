"""Writes that happen wholly or not at all, and strict JSON."""

import contextlib
import errno
import json
import numbers
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from avi.errors import ConfigError, ResourceError

TEMPORARY = ".tmp-"  # prefix of whatever is not committed yet; safe to delete once the lock is held


Content = bytes | Callable[[BinaryIO], object]  # or what writes it, where it is large


@contextlib.contextmanager
def resource_errors(path: Path) -> Iterator[None]:
    """Turn an operating-system error into a ResourceError naming `path` and its free space."""
    try:
        yield
    except OSError as error:
        raise ResourceError(_explain(path, error)) from error


def _explain(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Choose a folder you can write to, e.g. output=<folder>."
    elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "Free some space or choose another disk, e.g. output=<folder>."
    elif error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        advice = "A file is in the way of a folder, or a folder of a file: choose another name."
    elif error.errno == errno.ENAMETOOLONG:
        advice = "Choose a shorter name, e.g. output=<folder>."
    else:
        advice = "Check the disk and the path."
    return f"Cannot write {path}: {reason} ({free_bytes(path)} bytes free). {advice}"


def make_folder(path: Path) -> None:
    """Make a folder and its parents unless it is there; an error becomes a ResourceError."""
    with resource_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def free_bytes(path: Path) -> int:
    """Return the free bytes on the disk of `path` or its nearest existing parent; 0 if unknown."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: Content) -> None:
    """Create `path` (which must not exist) with `content`, on the disk when this returns."""
    with open(path, "xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())


def atomic_write(path: Path, content: Content) -> None:
    """Replace `path` by `content`: a reader, or a crash at any time, sees the old or the new file.

    The temporary file lies in the same folder and is removed on failure; an operating-system error
    becomes a ResourceError.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    with resource_errors(path):
        try:
            write_synced(temporary, content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def encode(value: Any) -> str:
    """Return one line of JSON; numpy's numbers become plain ones, NaN and infinity are refused."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def decode(text: bytes | str) -> Any:
    """Parse strict JSON; anything else, however nested, is a ValueError."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link where we are about to write: it may lead out of the run folder."""
    if path.is_symlink():
        raise ConfigError(f"{path} is a symbolic link; a run folder must hold its own files.")
