"""The folder of one run."""

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from avi.errors import BusyError, ConfigError, ResourceError
from avi.rundir import records
from avi.rundir.bounded import read_bounded, read_tree
from avi.rundir.files import (
    TEMPORARY,
    atomic_write,
    decode,
    encode,
    free_bytes,
    make_folder,
    refuse_link,
    resource_errors,
)
from avi.rundir.lock import Lock
from avi.rundir.names import config_digest

# Everything a run writes: what `overwrite=true` deletes. Anything else in the folder is not ours.
CONTENTS = (
    "config.yaml run.json metrics.jsonl timing.jsonl checkpoints elbo.png snapshot.npz gap"
    " form.npz parts.json calibration.json topics.json topics.csv proportions.csv report.html"
    " infer export tensorboard log.txt nan_dump.npz"
).split()

# What we read back from run.json, and its type.
RECORDED = {"status": str, "choices": dict, "starts": list}


class _PlainDumper(yaml.SafeDumper):
    """Writes shared nodes twice instead of as anchors and aliases, which readers refuse."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class RunDir:
    """A path and the names in it. Reading needs nothing; whoever writes holds the lock.

    `RunDir.create` and `locked` take the lock; `release`, or the end of a `with` block or of the
    process, gives it back.
    """

    def __init__(self, path: Path) -> None:
        """Refer to `path`; touches nothing."""
        self.path = path
        self._lock: Lock | None = None

    @classmethod
    def create(cls, path: Path, overwrite: bool = False) -> Self:
        """Make the folder of a new run and lock it.

        Raises:
            BusyError: the folder holds files and `overwrite` is false, or another process is in it.
            ConfigError: `overwrite` is true, but the folder is not that of a run.
            ResourceError: it cannot be made or written to.
        """
        run = cls(path)
        make_folder(path)
        run._check_vacant(overwrite)
        run._lock = Lock(path / ".lock")
        try:
            # Between the first look and the lock another job may have come and gone.
            run._check_vacant(overwrite)
            run._clear()
            run._remove_temporaries()
        except BaseException:
            run.release()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the run in an existing folder, for reading.

        Raises:
            ConfigError: it is not a run, or part of it is a link, which may lead out of the folder.
        """
        run = cls(path)
        if not path.is_dir():
            raise ConfigError(
                f"There is no run folder {path}. `avi train` prints the folder it writes to."
            )
        for name in CONTENTS:
            refuse_link(path / name)
        if not run.config_path.is_file():
            raise ConfigError(f"{path} is not a run folder: it has no config.yaml.")
        return run

    def locked(self) -> Self:
        """Take the lock, remove what an interrupted writer left, and return self."""
        if self._lock is None:
            self._lock = Lock(self.path / ".lock")
            self._remove_temporaries()
        return self

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def config_path(self) -> Path:
        """The resolved configuration, plain yaml."""
        return self.path / "config.yaml"

    @property
    def run_path(self) -> Path:
        """Versions, machine, status, starts."""
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        """Deterministic numbers, one line per record."""
        return self.path / "metrics.jsonl"

    @property
    def timing_path(self) -> Path:
        """Wall-clock, joined to the metrics by step and split."""
        return self.path / "timing.jsonl"

    @property
    def checkpoints_path(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def write_config(self, tree: Mapping[str, Any]) -> None:
        """Write the resolved configuration."""
        text = yaml.dump(dict(tree), Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
        atomic_write(self.config_path, text.encode())

    def config_sha256(self) -> str:
        """Return the digest of the configuration without the keys that a resumed run may change."""
        return config_digest(read_tree(self.config_path))

    def read_run(self) -> dict[str, Any]:
        """Return run.json; {} if there is none yet."""
        try:
            record = decode(read_bounded(self.run_path))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ConfigError(f"{self.run_path} is not JSON: {error}.") from error
        if not isinstance(record, dict):
            raise ConfigError(f"{self.run_path}: expected a JSON object.")
        for name, kind in RECORDED.items():
            if not isinstance(record.get(name, kind()), kind):
                raise ConfigError(
                    f"{self.run_path}: {name} is a {type(record[name]).__name__}, expected a "
                    f"{kind.__name__}."
                )
        return record

    def update_run(self, **fields: Any) -> None:
        """Replace `fields` in run.json."""
        atomic_write(self.run_path, (encode(self.read_run() | fields) + "\n").encode())

    def append_metrics(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append to metrics.jsonl."""
        records.append_lines(self.metrics_path, lines)

    def append_timing(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append to timing.jsonl."""
        records.append_lines(self.timing_path, lines)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl."""
        return records.read_lines(self.metrics_path)

    def timing(self) -> list[dict[str, Any]]:
        """Return the records of timing.jsonl."""
        return records.read_lines(self.timing_path)

    def truncate_metrics(self, offset: int) -> None:
        """Cut metrics.jsonl back to what a checkpoint recorded."""
        records.truncate(self.metrics_path, offset)

    def truncate_timing(self, offset: int) -> None:
        """Cut timing.jsonl back to what a checkpoint recorded."""
        records.truncate(self.timing_path, offset)

    def require_free(self, num_bytes: int) -> None:
        """Refuse to begin what the disk cannot hold."""
        free = free_bytes(self.path)
        if free < num_bytes:
            raise ResourceError(
                f"{self.path} needs about {num_bytes} bytes, but its disk has {free} free. "
                "Free some space or choose another disk, e.g. output=<folder>."
            )

    def _check_vacant(self, overwrite: bool) -> None:
        with resource_errors(self.path):
            names = {entry.name for entry in self.path.iterdir()} - {".lock"}
        names = {name for name in names if not name.startswith(TEMPORARY)}
        if names and not overwrite:
            raise BusyError(
                f"{self.path} exists and is not empty. Choose another folder, continue its run "
                f"with resume={self.path}, or replace it with overwrite=true."
            )
        if strangers := sorted(names - set(CONTENTS)):
            raise ConfigError(
                f"overwrite=true replaces a run folder, but {self.path} also holds "
                f"{strangers[0]!r}. Choose another folder, or move that file away."
            )

    def _clear(self) -> None:
        with resource_errors(self.path):
            for name in CONTENTS:
                _remove(self.path / name)

    def _remove_temporaries(self) -> None:
        refuse_link(self.checkpoints_path)
        with resource_errors(self.path):
            for folder in (self.path, self.checkpoints_path):
                for entry in folder.glob(f"{TEMPORARY}*"):
                    _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
