"""One process per run folder."""

import errno
import fcntl
import os
import socket
from pathlib import Path

from avi.errors import BusyError
from avi.rundir.files import decode, encode, resource_errors

HOLDER_LIMIT = 4096  # bytes of a lock file that are read


class Lock:
    """An advisory lock on a file, held until `release` or until the process ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock or raise BusyError naming its holder."""
        with resource_errors(path):
            descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666
            )
        try:
            _take(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let others in. The file stays: deleting it would let two processes hold two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock on this file; nothing is written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int, path: Path) -> None:
    with resource_errors(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise BusyError(
                f"{path.parent} is in use by {_holder(descriptor)}. "
                "Wait for it to end, or choose another folder."
            ) from error
        holder = encode({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder, 0)


def _holder(descriptor: int) -> str:
    """Return who wrote the lock file, as far as it can be read."""
    try:
        record = decode(os.pread(descriptor, HOLDER_LIMIT, 0))
        return f"process {int(record['pid'])} on {str(record['host'])[:80]!r}"
    except (ValueError, KeyError, TypeError):
        return "another process"
