"""MATLAB files: version 5, and 7.3, which is HDF5, by h5py."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from avi.datasets.columns import Raw, Reading
from avi.datasets.foreign import require_whole
from avi.datasets.formats import read_file
from avi.datasets.matlab5 import arrays_of

EXTRA = "hdf5"
MARK = b"\x89HDF"
AT = 512  # bytes that MATLAB writes before the HDF5 file begins


def read(path: Path, reading: Reading, limit: int) -> Raw:
    """Return the one array of numbers, or that which `dataset.array` names; rows go down."""
    with path.open("rb") as file:
        head = file.read(AT + len(MARK))
    newer = MARK in (head[: len(MARK)], head[AT:])
    found, version = (_of_hdf5, "7.3") if newer else (_of_version_5, "5")
    values = found(path, reading.array, limit)
    if values.ndim < 2 or values.size == 0 or values.dtype.kind not in "biuf":
        raise ValueError(
            f"expected an array of numbers, shape [N, D]; found {values.dtype}, shape "
            f"{list(values.shape)}"
        )
    dress = (f"MATLAB {version}", f"an array of {values.dtype}")
    return Raw(values.reshape(len(values), -1), str(path), dress=dress)


def _of_version_5(path: Path, name: str | None, limit: int) -> np.ndarray:
    arrays = arrays_of(read_file(path, limit))
    return arrays[chosen(name, arrays)].values(limit)


def _of_hdf5(path: Path, name: str | None, limit: int) -> np.ndarray:
    import h5py

    with h5py.File(path, "r") as file:
        require_whole(file, limit)
        known = [
            key
            for key, node in file.items()
            if isinstance(node, h5py.Dataset) and node.dtype.kind in "biuf"
        ]
        # MATLAB counts along columns first.
        return np.asarray(file[chosen(name, known)][()]).T


def chosen(name: str | None, known: Collection[str]) -> str:
    """Return the name of the array to read; ValueError if it is not clear which."""
    names = ", ".join(list(known)[:10]) or "no arrays of numbers"
    if name is None and len(known) != 1:
        raise ValueError(f"it holds {names}; name one with dataset.array=<name>")
    if name is not None and name not in known:
        raise ValueError(f"it holds {names}, but not {name!r}")
    return name if name is not None else next(iter(known))
