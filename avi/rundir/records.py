"""Logs of one JSON object per line, appended while a run lives and read with tolerance afterwards.

A writer that was killed leaves a torn last line. It is not a record: a reader leaves it out and the
next writer cuts it off. Any other line that does not parse was not written by us and is refused.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from avi.errors import CheckpointError, ConfigError
from avi.rundir.bounded import read_bounded
from avi.rundir.files import decode, encode, refuse_link, resource_errors

LOG_LIMIT = 2**30  # bytes
_RESTORE = "Restore the file, or train again: the same command with overwrite=true."


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append `lines` and hand them to the operating system."""
    text = "".join(encode(line) + "\n" for line in lines).encode()
    refuse_link(path)
    with resource_errors(path), open(path, "a+b") as file:
        _mend_last_line(file)
        file.write(text)


def _mend_last_line(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n":
        return
    tail = os.pread(file.fileno(), size, 0).rpartition(b"\n")[2]
    if _is_record(tail):
        file.write(b"\n")
    else:
        file.truncate(size - len(tail))


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(decode(line), dict)
    except ValueError:
        return False


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log; no file is an empty log.

    Raises:
        ConfigError: a line that is not the last does not hold a JSON object.
    """
    try:
        lines = read_bounded(path, LOG_LIMIT).split(b"\n")
    except FileNotFoundError:
        return []
    if not _is_record(lines[-1]):
        lines.pop()
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = decode(line)
    except ValueError as error:
        raise ConfigError(f"{path}, line {number}, is not JSON: {error}.") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}, line {number}: expected a JSON object.")
    return record


def sync(path: Path) -> int:
    """Bring a log to the disk and return its length in bytes (0 if there is none)."""
    refuse_link(path)
    if not path.exists():
        return 0
    with resource_errors(path), open(path, "rb") as file:
        os.fsync(file.fileno())
        return file.seek(0, os.SEEK_END)


def truncate(path: Path, offset: int) -> None:
    """Cut a log back to the `offset` that a checkpoint recorded.

    Raises:
        CheckpointError: lines that belong to the checkpoint are lost: the log is shorter than that,
            or no line ends there.
    """
    refuse_link(path)
    size = path.stat().st_size if path.exists() else 0
    if size < offset:
        raise CheckpointError(
            f"{path} has {size} bytes, but had {offset} when the checkpoint was saved: lines are "
            f"missing. {_RESTORE}"
        )
    if not offset and not size:
        return
    with resource_errors(path), open(path, "r+b") as file:
        if offset and os.pread(file.fileno(), 1, offset - 1) != b"\n":
            raise CheckpointError(
                f"{path} had a line that ended at byte {offset} when the checkpoint was saved, and "
                f"has none now. {_RESTORE}"
            )
        if size > offset:
            file.truncate(offset)
            os.fsync(file.fileno())
