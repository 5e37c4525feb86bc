"""The embedded data set: the hand-written digits that scikit-learn ships."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from avi.datasets.base import content_sha256, image_splits, permutation, sizes_of
from avi.datasets.formats import data_errors, gunzip, read_file
from avi.datasets.images import Images
from avi.errors import DataError, ResourceError
from avi.types import Origin, Splits

NUM_ROWS, SIZE = 1797, 64
# Of uint8 [1797, 65]: 64 pixels and the class.
SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"


@dataclass(frozen=True)
class Digits(Images):
    """1797 images of 8 x 8 pixels, grey values 0..16, with their classes."""

    num_valid: int
    num_test: int
    split_seed: int  # of the random split

    white: ClassVar[int] = 16
    image_shape: ClassVar[tuple[int, ...]] = (8, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes_of(NUM_ROWS, self.num_valid, self.num_test)

    def load(self) -> Splits:
        """Return the splits, read from scikit-learn's file: importing the package takes seconds."""
        order = permutation(NUM_ROWS, self.split_seed)
        table = _read()[order]
        sizes = sizes_of(NUM_ROWS, self.num_valid, self.num_test)
        splits = image_splits(table[:, :SIZE], table[:, SIZE], sizes, self.pixels)
        return splits._replace(origin=Origin(order))


def _read() -> np.ndarray:
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise ResourceError("dataset=digits comes with scikit-learn: pip install scikit-learn.")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with data_errors(str(path)):
        text = gunzip(read_file(path, 2**20), 2**20)
        table = np.fromstring(text.replace(b"\n", b","), np.float64, sep=",").astype(np.uint8)
    if table.shape != (NUM_ROWS * (SIZE + 1),) or content_sha256(table) != SHA256:
        raise DataError(f"{path} does not hold the digits that scikit-learn used to ship.")
    return table.reshape(NUM_ROWS, SIZE + 1)
