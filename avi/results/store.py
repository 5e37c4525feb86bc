"""The files of a run folder as a reader finds them: bounded, every damage noted, nothing run."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from avi.datasets.formats import data_errors, read_all_npz
from avi.errors import ConfigError, DataError
from avi.rundir import atomic_write
from avi.rundir.bounded import TEXT_LIMIT, read_bounded, read_tree
from avi.rundir.files import resource_errors


@dataclass(frozen=True)
class Files:
    """The files below `folder`; what cannot be read is left out, with a sentence in `damage`."""

    folder: Path
    damage: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """Return the content of a text file, empty where there is none."""
        path = self.folder / name
        try:
            return read_bounded(path).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        except ConfigError:
            self.damage.append(f"{path.name} could not be read and was left out.")
            return ""

    def json(self, name: str) -> Mapping[str, Any] | None:
        """Return the object in a JSON file, None where there is none."""
        content = self.text(name)
        if not content:
            return None
        try:
            tree = json.loads(content)
        except (ValueError, RecursionError):
            tree = None
        if not isinstance(tree, Mapping):
            self._damaged(name)
            return None
        return tree

    def config(self) -> Mapping[str, Any]:
        """Return the tree of config.yaml, empty where it cannot be read."""
        try:
            return read_tree(self.folder / "config.yaml")
        except ConfigError:
            self.damage.append("config.yaml is missing or damaged.")
            return {}

    def lines(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Yield the objects of a file that holds one in each line."""
        lines = [line for line in self.text(name).splitlines() if line.strip()]
        torn = 0
        for line in lines:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            if isinstance(entry, Mapping):
                yield entry
            else:
                torn += 1
        if torn:
            self.damage.append(f"{name} has {torn} torn of {len(lines)} lines, left out.")

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """Return the rows of a CSV file with a header."""
        try:
            return list(csv.DictReader(self.text(name).splitlines()))
        except csv.Error:
            self._damaged(name)
            return []

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of an .npz file."""
        path = self.folder / name
        try:
            content = read_bounded(path)
            with data_errors(str(path)):
                return read_all_npz(io.BytesIO(content), TEXT_LIMIT)
        except FileNotFoundError:
            return {}
        except (ConfigError, DataError):
            self._damaged(name)
            return {}

    def _damaged(self, name: str) -> None:
        self.damage.append(f"{Path(name).name} is damaged and was left out.")


def write_atomically(path: Path, content: bytes | str) -> Path:
    """Write `content` beside `path` and rename it there, so that no reader meets half a file."""
    with resource_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content.encode("utf-8", "replace") if isinstance(content, str) else content)
    return path


def packed(words: Iterable[str]) -> np.ndarray:
    """Return words as bytes of UTF-8, a line each."""
    return np.frombuffer("\n".join(words).encode(), np.uint8)


def unpacked(lines: np.ndarray | None) -> tuple[str, ...]:
    """Return the words of `packed`, none where there is nothing."""
    if lines is None or not lines.size:
        return ()
    return tuple(np.asarray(lines).tobytes().decode("utf-8", "replace").split("\n"))


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays as the content of an .npz file."""
    buffer = io.BytesIO()
    write_npz(buffer, arrays)
    return buffer.getvalue()


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an .npz file, of which only a part is in memory."""
    np.savez(file, **arrays)  # type: ignore[arg-type]
