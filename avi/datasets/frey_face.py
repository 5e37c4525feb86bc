"""Frey faces (Roweis): 1965 frames of a film of one face."""

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from avi.datasets.base import content_sha256, image_splits, sizes_of
from avi.datasets.fetch import PublicFile, obtain
from avi.datasets.formats import read_npy, read_npz
from avi.datasets.images import Images
from avi.datasets.matlab5 import arrays_of
from avi.types import Splits

NUM_ROWS, SIZE = 1965, 560
FILE = PublicFile(
    folder="frey_face",
    names=("frey_rawface.mat", "frey_rawface.npy", "frey_rawface.npz"),
    urls=("https://cs.nyu.edu/~roweis/data/frey_rawface.mat",),
    max_bytes=2**22,
)
SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"  # uint8 [1965, 560]


@dataclass(frozen=True)
class FreyFace(Images):
    """1965 images of 28 x 20 pixels, grey values 0..255, split in three blocks of the film.

    Neighbouring frames are nearly equal: a random split would test on what was trained on.
    """

    num_valid: int
    num_test: int

    image_shape: ClassVar[tuple[int, ...]] = (28, 20)

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes_of(NUM_ROWS, self.num_valid, self.num_test)

    def load(self) -> Splits:
        """Return the splits, from AVI_DATA_DIR, the cache or the network."""
        sizes = sizes_of(NUM_ROWS, self.num_valid, self.num_test)
        return image_splits(obtain(FILE, _accept), None, sizes, self.pixels)


def _accept(content: bytes) -> np.ndarray:
    if content.startswith(b"PK"):
        rows = read_npz(io.BytesIO(content), None)
    elif content.startswith(b"\x93NUMPY"):
        rows = read_npy(io.BytesIO(content), len(content))
    else:
        arrays = arrays_of(content)
        if "ff" not in arrays:
            raise ValueError("it holds no array ff")
        rows = arrays["ff"].values(2**24).T
    if rows.shape != (NUM_ROWS, SIZE) or content_sha256(rows) != SHA256:
        raise ValueError("its content is not that of the published faces")
    return np.ascontiguousarray(rows)
