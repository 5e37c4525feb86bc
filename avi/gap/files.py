"""gap/points.csv, gap/worst.npz and gap/summary.json."""

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from avi.gap.decomposition import Decomposition
from avi.rundir import atomic_write
from avi.rundir.files import encode

COLUMNS = tuple(field.name for field in fields(Decomposition))


def write(
    folder: Path,
    summary: dict[str, Any],
    rows: Sequence[Decomposition],
    worst: dict[str, np.ndarray],
) -> None:
    """Write the files, the summary last: where it stands, the points are complete."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = io.BytesIO()
    np.savez(archive, **worst)  # type: ignore[arg-type]
    atomic_write(folder / "worst.npz", archive.getvalue())
    atomic_write(folder / "points.csv", table(rows).encode())
    atomic_write(folder / "summary.json", (encode(finite(summary)) + "\n").encode())


def table(rows: Sequence[Decomposition]) -> str:
    """Return the rows as CSV, in the order of their ids; unknown numbers are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in sorted(rows, key=lambda row: row.row):
        writer.writerow({name: _cell(value) for name, value in row.as_row().items()})
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def finite(tree: Any) -> Any:
    """Return the tree with null in place of every number that is not finite."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree
