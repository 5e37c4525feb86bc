"""Tables as other programs write them, each format read by a library that is well kept.

A format is one module here: `EXTRA`, what installs its library, and `read(path, reading, limit)`,
which returns all columns and takes at most `limit` bytes for them.
"""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from avi.datasets.columns import Raw, Reading
from avi.datasets.formats import byte_limit, data_errors, kind_of
from avi.errors import ConfigError

ENDINGS = {".parquet": "parquet", ".mat": "matlab", ".h5ad": "annotated", ".mtx": "market"}
ENDINGS |= dict.fromkeys((".svm", ".svmlight", ".libsvm"), "svmlight")
SPARSE = (".mtx", ".svm", ".svmlight", ".libsvm")  # texts that leave zeros out
NAMED = (".mat", ".h5ad")  # with several arrays, one of which dataset.array names
IMAGES = (".png", ".jpg", ".jpeg")
OF_GENES = ("matrix.mtx", "matrix.mtx.gz")


def is_foreign(path: Path) -> bool:
    """Say whether a module here reads it: by its ending, or a folder."""
    return kind_of(path) in ENDINGS or path.is_dir()


def read_foreign(path: Path, reading: Reading) -> Raw:
    """Return all columns of a file or folder.

    Raises:
        ConfigError: the library is not installed, or a folder holds nothing that is read.
        DataError: it is malformed, or larger than a quarter of the memory.
    """
    module = importlib.import_module(f"{__name__}.{_format(path)}")
    try:
        with data_errors(str(path)):
            raw: Raw = module.read(path, reading, byte_limit())
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path} is read by {error.name}, which is not installed. Try pip install "
            f"'avi[{module.EXTRA}]'."
        ) from error
    return raw


def _format(path: Path) -> str:
    if not path.is_dir():
        return ENDINGS[kind_of(path)]
    if any((path / name).is_file() for name in OF_GENES):
        return "genes"
    if any(child.suffix.lower() in IMAGES for child in [*path.glob("*"), *path.glob("*/*")]):
        return "images"
    raise ConfigError(
        f"{path} is a folder without images ({', '.join(IMAGES)}) and without matrix.mtx. Try a "
        "file in it; a folder of texts is dataset=corpus dataset.format=text."
    )


def require_room(shape: tuple[int, ...], limit: int) -> None:
    """Raise ValueError if numbers of this shape take more than `limit` bytes."""
    needed = 8 * math.prod(shape)
    if needed > limit:
        raise ValueError(f"it needs {needed} bytes, more than a quarter of the memory")


def dense(values: Any, limit: int) -> np.ndarray:
    """Return an array of what a library has read, sparse or not.

    Raises:
        ValueError: it takes more than `limit` bytes, or points outside its own shape.
    """
    require_room(values.shape, limit)
    if getattr(values, "format", None) in ("csr", "csc"):
        values.check_format(full_check=True)
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def require_whole(file: Any, limit: int) -> None:
    """Raise ValueError unless an open HDF5 file holds all it shows, in at most `limit` bytes.

    What lies in other files of this machine is no part of a person's data.
    """
    import h5py

    sizes = []

    def elsewhere(name: str, node: Any) -> str | None:
        if isinstance(node, h5py.Dataset):
            sizes.append(node.size * node.dtype.itemsize)
            return name if node.external or node.is_virtual else None
        return name if isinstance(node, h5py.ExternalLink) else None

    # Both end at the first that is elsewhere; an error would not come through them whole.
    outside = file.visititems(elsewhere) or file.visititems_links(elsewhere)
    if outside:
        raise ValueError(f"{outside} lies in another file")
    if sum(sizes) > limit:
        raise ValueError(f"it needs {sum(sizes)} bytes, more than a quarter of the memory")
