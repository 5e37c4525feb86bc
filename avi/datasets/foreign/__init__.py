"""Tables as other programs write them, each format read by a library that is well kept.

A format is one module here: `EXTRA`, what installs its library, and `read(path, reading, limit)`,
which returns all columns and takes at most `limit` bytes for them.
"""

import importlib
import math
from pathlib import Path

from avi.datasets.columns import Raw, Reading
from avi.datasets.formats import byte_limit, data_errors
from avi.errors import ConfigError

ENDINGS = {".parquet": "parquet", ".mat": "matlab", ".h5ad": "annotated"}
NAMED = (".mat", ".h5ad")  # with several arrays, one of which dataset.array names
IMAGES = (".png", ".jpg", ".jpeg")
OF_GENES = ("matrix.mtx", "matrix.mtx.gz")


def is_foreign(path: Path) -> bool:
    """Say whether a module here reads it: by its ending, or a folder."""
    return path.suffix in ENDINGS or path.is_dir()


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
    if path.suffix in ENDINGS:
        return ENDINGS[path.suffix]
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
