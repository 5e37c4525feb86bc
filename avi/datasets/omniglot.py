"""Omniglot in 28 x 28 pixels, as Burda, Grosse & Salakhutdinov (2016) split it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from avi.datasets.base import image_splits, permutation
from avi.datasets.fetch import PublicFile, obtain
from avi.datasets.images import Images, upright
from avi.datasets.matlab5 import arrays_of, matrix
from avi.types import Origin, Splits

NUM_TRAIN, NUM_TEST = 24_345, 8_070
SHAPE = (28, 28)
FILE = PublicFile(
    folder="omniglot",
    names=("chardata.mat",),
    urls=("https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat",),
    max_bytes=2**28,
    known=False,
)


@dataclass(frozen=True)
class Omniglot(Images):
    """32415 images of characters, grey values from 0 to 1; the 8070 for testing are the file's."""

    num_valid: int  # of the 24345 for training, in random order
    split_seed: int  # of this order

    white: ClassVar[int] = 1
    image_shape: ClassVar[tuple[int, ...]] = SHAPE

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.num_valid < NUM_TRAIN:
            raise ValueError(f"num_valid must be 0 to {NUM_TRAIN - 1}; got {self.num_valid}.")

    def load(self) -> Splits:
        """Return the splits, from AVI_DATA_DIR, the cache or the network."""
        rows = obtain(FILE, _accept)
        order = np.arange(len(rows))
        order[:NUM_TRAIN] = permutation(NUM_TRAIN, self.split_seed)
        sizes = NUM_TRAIN - self.num_valid, self.num_valid, NUM_TEST
        splits = image_splits(rows[order], None, sizes, self.pixels)
        return splits._replace(origin=Origin(order))


def _accept(content: bytes) -> np.ndarray:
    """Return grey rows, float32, those for training first: one column of the file each."""
    arrays = arrays_of(content)
    parts = [
        matrix(arrays, name, (SHAPE[0] * SHAPE[1], number)).T
        for name, number in (("data", NUM_TRAIN), ("testdata", NUM_TEST))
    ]
    rows = np.concatenate(parts).astype(np.float32)
    if not ((rows >= 0) & (rows <= 1)).all():
        raise ValueError("its values are not grey values from 0 to 1")
    return upright(rows, SHAPE)
