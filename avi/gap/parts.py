"""What a report has found so far, on disk: a killed report goes on where it was."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from avi.gap.search import Found
from avi.rundir import atomic_write
from avi.rundir.records import append_lines, read_lines
from avi.types import Estimate, Params


def identity_of(params: Params, description: str) -> str:
    """Return a digest of everything that determines the numbers: parameters and configuration."""
    digest = hashlib.sha256(description.encode())
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


class Parts:
    """Searches and evidence, one line each, keyed by row id; of another identity they are dropped.

    Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        self.folder = folder
        if folder is None:
            return
        name = folder / "identity.txt"
        if not name.is_file() or name.read_text() != identity:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            atomic_write(name, identity.encode())

    def found(self) -> Iterator[tuple[int, int, Found]]:
        """Yield (row id, start, result) of every search that ended."""
        for line in self._read("search"):
            fields = {name: line[name] for name in Found._fields}
            fields["lam"] = np.asarray(fields["lam"], np.float64)
            if fields["guarantee"] is None:
                fields["guarantee"] = float("nan")
            yield line["row"], line["start"], Found(**fields)

    def add_found(self, row: int, start: int, found: Found) -> None:
        """Keep the result of one search."""
        fields: dict[str, Any] = found._asdict() | {"lam": found.lam.tolist()}
        if np.isnan(found.guarantee):
            fields["guarantee"] = None
        if np.isfinite(found.certificate + found.certificate_se):
            self._append("search", {"row": int(row), "start": start} | fields)

    def estimates(self) -> Iterator[tuple[int, str, list[float], Estimate]]:
        """Yield (row id, estimator, lam that it was made at, estimate) of points with evidence."""
        for line in self._read("evidence"):
            values = [float("nan") if value is None else value for value in line["estimate"]]
            yield line["row"], line["by"], line["lam"], Estimate(*values)  # type: ignore[arg-type]

    def add_estimate(self, row: int, by: str, lam: np.ndarray, estimate: Estimate) -> None:
        """Keep the evidence of one point."""
        values = [float(value) if np.isfinite(value) else None for value in estimate]
        line = {"row": int(row), "by": by, "lam": lam.tolist(), "estimate": values}
        self._append("evidence", line)

    def _read(self, name: str) -> list[dict[str, Any]]:
        return [] if self.folder is None else read_lines(self.folder / f"{name}.jsonl")

    def _append(self, name: str, line: dict[str, Any]) -> None:
        if self.folder is not None:
            append_lines(self.folder / f"{name}.jsonl", [line])
