"""MNIST with one published binarisation: the benchmark of the literature on density estimation."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.datasets.base import content_sha256, permutation
from avi.datasets.fetch import PublicFile, find, obtain
from avi.datasets.formats import parse_bits, read_npz
from avi.types import Dataset, Splits, Support

SIZE = 784
NUM_ROWS = {"train": 50_000, "valid": 10_000, "test": 10_000}
PACKED = PublicFile("binarized_mnist", ("binarized_mnist_packed.npz",), (), 2**23)
URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
# SHA-256 of the sorted rows, eight pixels to a byte: the order of rows differs between containers.
SHA256 = {
    "train": "aae6de292e6b68d898acf52062a1ac62907fc7ab417c59582d6523a1da0f9a61",
    "valid": "d10b4edf2e0765693846b51a5895f81f69fa37b6459b7f665bfa9c8cc9723622",
    "test": "87ff96664646cc41575aeb3ae4fbbabc1475ca3d42be4659d7a829d9f22c845a",
}


@dataclass(frozen=True)
class BinarizedMnist:
    """70000 rows of 784 bits, in a shuffled order: any first rows are a fair sample."""

    order_seed: int

    support: ClassVar[Support] = "binary"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[tuple[int, ...]] = (28, 28)

    def load(self) -> Splits:
        """Return the splits, from the packed bits or from the published text files."""
        train, valid, test = (self._split(name) for name in NUM_ROWS)
        return Splits(train, valid, test)

    def _split(self, name: str) -> np.ndarray:
        packed = obtain(_file(name), _accept(name))
        rows = np.unpackbits(packed, axis=1)
        return rows[permutation(len(rows), self.order_seed)]

    def view(
        self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]
    ) -> Float[Array, " 784"]:
        """Return the bits as numbers."""
        del index, visit
        return jnp.asarray(row, float)

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


def _file(name: str) -> PublicFile:
    """Return where a split is: in the container of all three if that is there."""
    if find(PACKED.folder, PACKED.names):
        return PACKED
    text = f"binarized_mnist_{name}.amat"
    return PublicFile("binarized_mnist", (text,), (f"{URL}/{text}",), 2**27)


def _accept(name: str) -> Callable[[bytes], np.ndarray]:
    def accept(content: bytes) -> np.ndarray:
        if content.startswith(b"PK"):
            packed = read_npz(io.BytesIO(content), name)
        else:
            packed = np.packbits(parse_bits(content, SIZE), axis=1)
        if packed.shape != (NUM_ROWS[name], SIZE // 8) or packed.dtype != np.uint8:
            raise ValueError(f"it holds {packed.dtype}{list(packed.shape)}, not packed bits")
        rows = packed[np.lexsort(packed.T[::-1])]
        if content_sha256(rows) != SHA256[name]:
            raise ValueError(f"its rows are not those of the published {name} set")
        return rows

    return accept
