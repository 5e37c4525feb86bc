"""What a report has found so far, on disk: a killed report goes on where it was."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from avi.errors import ConfigError
from avi.gap.endings import Ending
from avi.gap.search import Found
from avi.rundir import atomic_write
from avi.rundir.bounded import read_bounded
from avi.rundir.files import refuse_link, resource_errors
from avi.rundir.records import append_lines, read_lines
from avi.types import Estimate, Params

FORMAT = 4  # of the lines: those of another are measured afresh


def theta_sha256(params: Params) -> bytes:
    """Return a digest of theta and psi, which alone decide where lam* of a row is."""
    return _digest((params.theta, params.psi)).digest()


def identity_of(params: Params, description: str) -> str:
    """Return a digest of everything that determines the numbers: parameters and configuration."""
    return _digest(params, f"{FORMAT} {description}").hexdigest()


def _digest(tree: PyTree, words: str = "") -> Any:
    """Return the SHA-256 of words and the arrays of a tree."""
    digest = hashlib.sha256(words.encode())
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest


class LedgerFiles:
    """Searches and evidence, one line each, keyed by row id; of another identity they are dropped.

    Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        self.folder = folder
        if folder is None:
            return
        name = folder / "identity.txt"
        refuse_link(folder)
        if not name.is_file() or read_bounded(name) != identity.encode():
            shutil.rmtree(folder, ignore_errors=True)
            with resource_errors(folder):
                folder.mkdir(parents=True)
            atomic_write(name, identity.encode())

    def found(self, num_params: int) -> Iterator[tuple[int, int, Found]]:
        """Yield (row id, start, result) of every search that ended, each with a lam of so many.

        Raises:
            ConfigError: a line that no report has written.
        """
        for line in self._read("search"):
            with self._explained("search"):
                one = int(line["row"]), int(line["start"]), _found(line, num_params)
            yield one

    def add_found(self, row: int, start: int, found: Found) -> None:
        """Keep the result of one search."""
        fields: dict[str, Any] = found._asdict() | {"lam": found.lam.tolist()}
        if np.isnan(found.guarantee):
            fields["guarantee"] = None
        if np.isfinite(found.certificate + found.certificate_se):
            self._append("search", {"row": int(row), "start": start} | fields)

    def estimates(self) -> Iterator[tuple[int, str, list[float], Estimate]]:
        """Yield (row id, estimator, lam that it was made at, estimate) of points with evidence.

        Raises:
            ConfigError: a line that no report has written.
        """
        for line in self._read("evidence"):
            with self._explained("evidence"):
                estimate = Estimate(*map(_number, line["estimate"]))  # type: ignore[arg-type]
                one = int(line["row"]), str(line["by"]), list(line["lam"]), estimate
            yield one

    def add_estimate(self, row: int, by: str, lam: np.ndarray, estimate: Estimate) -> None:
        """Keep the evidence of one point."""
        values = [float(value) if np.isfinite(value) else None for value in estimate]
        line = {"row": int(row), "by": by, "lam": lam.tolist(), "estimate": values}
        self._append("evidence", line)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"{self.folder}/{name}.jsonl holds a line that no report wrote. Delete "
                f"{self.folder} to measure afresh."
            ) from error

    def _read(self, name: str) -> list[dict[str, Any]]:
        return [] if self.folder is None else read_lines(self.folder / f"{name}.jsonl")

    def _append(self, name: str, line: dict[str, Any]) -> None:
        if self.folder is not None:
            append_lines(self.folder / f"{name}.jsonl", [line])


class Ledger:
    """What has been found of every row, in this report or in one that was killed."""

    def __init__(
        self,
        files: LedgerFiles,
        num_params: int,
        earlier: Mapping[int, np.ndarray] = MappingProxyType({}),
    ) -> None:
        self.files = files
        self.earlier = earlier  # row id -> lam* of another report on the same theta
        self.optima: dict[int, Found] = {}  # row id -> the best that this report has found
        self._found = {(row, start): found for row, start, found in files.found(num_params)}
        self._estimates = {(row, by): (lam, one) for row, by, lam, one in files.estimates()}

    def found(self, row: int, start: int) -> Found | None:
        """Return how the search from one start ended, None if it has not."""
        return self._found.get((int(row), start))

    def add_found(self, row: int, start: int, found: Found) -> None:
        """Keep how a search ended."""
        self.files.add_found(row, start, found)

    def estimate(self, row: int, evidence: Any, lam: np.ndarray) -> Estimate | None:
        """Return the evidence of one row by this estimator at this lam, None if it is not known."""
        at, estimate = self._estimates.get((int(row), repr(evidence)), (None, None))
        return estimate if at == lam.tolist() else None

    def add_estimate(self, row: int, evidence: Any, lam: np.ndarray, estimate: Estimate) -> None:
        """Keep the evidence of one row."""
        by = repr(evidence)
        self._estimates[int(row), by] = (lam.tolist(), estimate)
        self.files.add_estimate(row, by, lam, estimate)


def _found(line: dict[str, Any], num_params: int) -> Found:
    lam = np.asarray(line["lam"], np.float64)
    if lam.shape != (num_params,) or not np.isfinite(lam).all():
        raise ValueError("not a lam of this family")
    return Found(
        lam,
        certificate=float(line["certificate"]),
        certificate_se=float(line["certificate_se"]),
        positive=bool(line["positive"]),
        guarantee=_number(line["guarantee"]),
        ending=Ending(line["ending"]),
        gradient_evaluations=int(line["gradient_evaluations"]),
    )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
