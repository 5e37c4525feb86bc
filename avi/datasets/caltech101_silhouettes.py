"""Caltech 101 Silhouettes (Marlin, Swersky, Chen & de Freitas 2010) in 28 x 28 pixels."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.datasets.fetch import PublicFile, obtain
from avi.datasets.images import upright
from avi.datasets.matlab5 import arrays_of, matrix
from avi.settings import SPLITS
from avi.types import Dataset, Splits, Support

NUM_ROWS = {"train": 4_100, "val": 2_264, "test": 2_307}
SHAPE = (28, 28)
FILE = PublicFile(
    folder="caltech101_silhouettes",
    names=("caltech101_silhouettes_28_split1.mat",),
    urls=("https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",),
    max_bytes=2**26,
    known=False,
)


@dataclass(frozen=True)
class Caltech101Silhouettes:
    """8671 outlines of 101 kinds of objects, 784 bits each, in the split of the file."""

    support: ClassVar[Support] = "binary"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[tuple[int, ...]] = SHAPE

    def load(self) -> Splits:
        """Return the splits, from AVI_DATA_DIR, the cache or the network."""
        (train, valid, test), labels = zip(*obtain(FILE, _accept), strict=True)
        return Splits(train, valid, test, dict(zip(SPLITS, labels, strict=True)))

    def view(
        self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]
    ) -> Float[Array, " 784"]:
        """Return the bits as numbers."""
        del index, visit
        return jnp.asarray(row, float)

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


def _accept(content: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return bits and kinds, counted from 1, of train, valid and test rows."""
    arrays, parts = arrays_of(content), []
    for name, number in NUM_ROWS.items():
        bits = matrix(arrays, f"{name}_data", (number, SHAPE[0] * SHAPE[1]))
        if not np.isin(bits, (0, 1)).all():
            raise ValueError(f"its array {name}_data holds more than 0 and 1")
        kinds = matrix(arrays, f"{name}_labels", (number, 1))
        parts.append((upright(bits.astype(np.uint8), SHAPE), kinds.ravel().astype(np.int64)))
    return parts
