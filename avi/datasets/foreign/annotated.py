"""AnnData's .h5ad, by anndata: cells by genes, with the names of both."""

from pathlib import Path

import numpy as np

from avi.datasets.columns import Raw, Reading, column_of
from avi.datasets.foreign import dense, require_whole

EXTRA = "anndata"


def read(path: Path, reading: Reading, limit: int) -> Raw:
    """Return X, or the layer that `dataset.array` names; labels may be a column of obs."""
    import anndata
    import h5py

    with h5py.File(path, "r") as file:
        require_whole(file, limit)
    found = anndata.read_h5ad(path)
    if reading.array is not None and reading.array not in found.layers:
        layers = ", ".join(list(found.layers)[:10]) or "no layers"
        raise ValueError(f"it holds X and {layers}, but no layer {reading.array!r}")
    values = found.X if reading.array is None else found.layers[reading.array]
    if values is None:
        raise ValueError("it has no X; name a layer with dataset.array=<name>")
    rows = dense(values, limit)
    kind = rows.dtype
    names: tuple[str, ...] = tuple(map(str, found.var_names))
    columns = [column_of(rows[:, place]) for place in range(len(names))]
    label = None if reading.label is None else str(reading.label)
    if label is not None and label not in names and label in found.obs:
        columns.append(column_of(found.obs[label].astype(object).tolist()))
        names = (*names, label)
        rows = np.column_stack([rows, columns[-1].values])
    dress = ("AnnData", f"{reading.array or 'X'} of {kind}")
    cells = tuple(map(str, found.obs_names))
    return Raw(rows, str(path), names, None, tuple(columns), dress, row_names=cells)
