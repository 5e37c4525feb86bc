"""CIFAR-10 (Krizhevsky 2009): 32 x 32 photographs in colour of ten kinds of things."""

import io
import tarfile
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from avi.datasets.base import image_splits
from avi.datasets.fetch import PublicFile, find, obtain, require_md5
from avi.datasets.images import Images
from avi.errors import DataError
from avi.types import Splits

PER_FILE, NUM_VALID = 10_000, 5_000  # images of one member; of those for training, the last
SHAPE = (32, 32, 3)
RECORD = 1 + 32 * 32 * 3  # bytes of an image: its kind, then all red, all green and all blue pixels
MEMBERS = [
    f"cifar-10-batches-bin/{name}.bin"
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
]
PICKLED = "cifar-10-python.tar.gz"
ARCHIVE = PublicFile(
    folder="cifar10",
    names=("cifar-10-binary.tar.gz",),
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    max_bytes=170_052_171,
)
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as the page of the set has it


@dataclass(frozen=True)
class Cifar10(Images):
    """60000 images of 3072 bytes: red, green and blue of each pixel, with their classes."""

    image_shape: ClassVar[tuple[int, ...]] = SHAPE

    def load(self) -> Splits:
        """Return the splits, from AVI_DATA_DIR, the cache or the network.

        Raises:
            DataError: only the version in pickles is there.
        """
        pickled = find(ARCHIVE.folder, (PICKLED,))
        if pickled is not None and find(ARCHIVE.folder, ARCHIVE.names) is None:
            raise DataError(
                f"{pickled} is CIFAR-10 in pickles, which can run code when they are read: it is "
                f"never opened. Put the binary version, {ARCHIVE.urls[0]}, in its place."
            )
        rows, labels = obtain(ARCHIVE, _accept)
        sizes = 5 * PER_FILE - NUM_VALID, NUM_VALID, PER_FILE
        return image_splits(rows, labels, sizes, self.pixels)


def _accept(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels [N, 3072], line by line with three colours each, and kinds."""
    require_md5(content, MD5)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            records = np.concatenate([_records(archive, name) for name in MEMBERS])
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"it is not the archive of CIFAR-10 ({error})") from error
    planes = records[:, 1:].reshape(-1, 3, 32 * 32)
    return planes.transpose(0, 2, 1).reshape(len(records), -1), records[:, 0]


def _records(archive: tarfile.TarFile, name: str) -> np.ndarray:
    file = archive.extractfile(name)
    content = b"" if file is None else file.read(PER_FILE * RECORD + 1)
    if len(content) != PER_FILE * RECORD:
        raise ValueError(f"its {name} is not {PER_FILE} images of {RECORD} bytes")
    return np.frombuffer(content, np.uint8).reshape(PER_FILE, RECORD)
