"""Public files: found in a folder of the user's, else in the cache, else downloaded and verified.

`AVI_DATA_DIR` names a folder to search first, `AVI_CACHE_DIR` the cache (by default the system's
place for caches). What a file is called says nothing of what it holds: `accept` reads the content,
verifies it against a recorded hash and raises ValueError if it is something else. Where no hash has
been published that of the first download is kept beside it: later it is that or nothing.
"""

import contextlib
import hashlib
import os
import secrets
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from avi.datasets.formats import read_file
from avi.errors import DataError, ResourceError

T = TypeVar("T")
Accept = Callable[[bytes], T]

TRIES = 3
STALLED = 30.0  # seconds without a byte after which a try ends
PAUSE = 1.0  # seconds before the second try; twice that before the third
SLOWEST = 1800.0  # seconds after which a try ends


@dataclass(frozen=True)
class PublicFile:
    """A file that anyone can download."""

    folder: str  # of the data set, in AVI_DATA_DIR and in the cache
    names: tuple[str, ...]  # under which people keep it; a download gets the first
    urls: tuple[str, ...]
    max_bytes: int
    known: bool = True  # by a published hash; False: by that of its first download


def require_sha256(content: bytes, expected: str) -> bytes:
    """Return `content` if that is its hash."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"its content has SHA-256 {found}; expected {expected}")
    return content


def require_md5(content: bytes, expected: str) -> bytes:
    """Return `content` if that is its hash: those who published it wrote down no other."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(f"its content has MD5 {found}; expected {expected}")
    return content


def find(folder: str, names: Sequence[str]) -> Path | None:
    """Return the first file of one of these names in the user's data folder or in the cache."""
    data_dir = os.environ.get("AVI_DATA_DIR")
    if data_dir and not Path(data_dir).is_dir():
        raise ResourceError(f"AVI_DATA_DIR={data_dir} is not a folder.")
    places = [Path(data_dir) / folder, Path(data_dir)] if data_dir else []
    places.append(cache_folder() / folder)
    candidates = (place / name for place in places for name in names)
    return next((path for path in candidates if path.is_file()), None)


def obtain(file: PublicFile, accept: Accept[T]) -> T:
    """Return what `accept` makes of the file, wherever it is.

    Raises:
        DataError: a file of the user's has the right name and other content.
        ResourceError: it is nowhere and cannot be downloaded.
    """
    path = find(file.folder, file.names)
    if path is None:
        return download(file, accept)
    try:
        return accept(_as_first(file, path, read_file(path, file.max_bytes)))
    except (ValueError, zlib.error) as error:
        if cache_folder() in path.parents:
            path.unlink(missing_ok=True)  # it was whole once: the disk or a killed copy spoiled it
            return download(file, accept)
        raise DataError(f"{path} is not the file that it is named after: {error}.") from error


def download(file: PublicFile, accept: Accept[T]) -> T:
    """Download into the cache; only what `accept` accepts gets the file's name there."""
    folder = cache_folder() / file.folder
    reasons = []
    for number in range(TRIES):
        url = file.urls[number % len(file.urls)]
        time.sleep(number * PAUSE)
        partial = folder / f".tmp-{secrets.token_hex(8)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _receive(url, partial, file.max_bytes)
            path = folder / file.names[0]
            content = _as_first(file, path, read_file(partial, file.max_bytes))
            accepted = accept(content)
            if not file.known:
                _record(path).write_text(hashlib.sha256(content).hexdigest(), encoding="ascii")
            os.replace(partial, path)
            return accepted
        except (ValueError, zlib.error, OSError, DataError) as error:
            reasons.append(f"  {url}: {error}")
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()
    raise ResourceError(
        "\n".join(
            [
                f"{file.names[0]} could not be downloaded in {TRIES} tries:",
                *reasons,
                f"Without a network, get the file from {file.urls[0]} and put it into {folder}, or "
                "into a folder that you name with AVI_DATA_DIR.",
            ]
        )
    )


def _record(path: Path) -> Path:
    """Return where the hash of a downloaded file is kept."""
    return path.with_name(f"{path.name}.sha256")


def _as_first(file: PublicFile, path: Path, content: bytes) -> bytes:
    """Return the content of a file if it is what was downloaded first, where that is recorded."""
    record = _record(path)
    if file.known or not record.is_file():
        return content
    return require_sha256(content, record.read_text(encoding="ascii", errors="replace").strip())


def cache_folder() -> Path:
    """Return the folder for what can be made again: AVI_CACHE_DIR, else the user's cache."""
    named = os.environ.get("AVI_CACHE_DIR")
    if named:
        return Path(named)
    import pooch

    return Path(pooch.os_cache("avi"))


def _receive(url: str, path: Path, max_bytes: int) -> None:
    """Download within `SLOWEST` seconds, however slowly the server sends its bytes.

    In a thread that is left behind when it is late: a timeout of the socket is one of silence, and
    a byte a minute is not silence.
    """
    errors: list[Exception] = []

    def transfer() -> None:
        try:
            _transfer(url, path, max_bytes)
        except Exception as error:  # raised again below
            errors.append(error)

    thread = threading.Thread(target=transfer, daemon=True)
    thread.start()
    thread.join(SLOWEST)
    if thread.is_alive():
        raise TimeoutError(f"it took more than {SLOWEST:g} seconds")
    if errors:
        raise errors.pop()  # kept, it would keep its frames and their sockets


def _transfer(url: str, path: Path, max_bytes: int) -> None:
    import pooch

    with path.open("xb") as file:
        receiver = _Receiver(file, url.rsplit("/", 1)[-1], max_bytes)
        pooch.HTTPDownloader(progressbar=receiver, timeout=STALLED, chunk_size=2**16)(
            url, receiver, None
        )
        os.fsync(file.fileno())


class _Receiver:
    """The file and the progress bar of a download, which ends when it grows too long."""

    def __init__(self, file: BinaryIO, name: str, max_bytes: int) -> None:
        self.total = 0  # set by pooch
        self._file = file
        self._name = name
        self._left = max_bytes
        self._received = 0

    def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise ValueError("it is longer than the file that was asked for")
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()

    def update(self, num_bytes: int) -> None:
        self._received = min(self._received + num_bytes, self.total)
        if sys.stderr.isatty():
            line = f"\rdownloading {self._name}: {self._received >> 10} of {self.total >> 10} KiB"
            print(line, end="", file=sys.stderr, flush=True)

    def reset(self) -> None:
        self._received = 0

    def close(self) -> None:
        print(f"\rdownloaded {self._name}: {self.total >> 10} KiB" + 12 * " ", file=sys.stderr)
