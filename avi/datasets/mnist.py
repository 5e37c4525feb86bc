"""MNIST as LeCun, Cortes and Burges publish it: 28 x 28 grey images of digits in IDX files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from avi.datasets.base import image_splits
from avi.datasets.binarize import Pixels
from avi.datasets.fetch import PublicFile, obtain, require_sha256
from avi.datasets.formats import gunzip, parse_idx
from avi.datasets.images import Images
from avi.types import Splits

SIZES = (55_000, 5_000, 10_000)  # the last 5000 of the 60000 training images are for validation
SHAPE = (28, 28)
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
# SHA-256 of the uncompressed files, which are the same under every gzip wrapper.
SHA256 = {
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NUM_BYTES = {
    "train-images": 47_040_016,
    "train-labels": 60_008,
    "t10k-images": 7_840_016,
    "t10k-labels": 10_008,
}


@dataclass(frozen=True)
class Mnist(Images):
    """70000 images of 784 pixels, grey values 0..255, with their classes."""

    image_shape: ClassVar[tuple[int, ...]] = SHAPE

    def load(self) -> Splits:
        """Return the splits, from AVI_DATA_DIR, the cache or the network."""
        return idx_splits(_part, self.pixels)


def idx_splits(read: Callable[[str], np.ndarray], pixels: Pixels) -> Splits:
    """Return the splits of four IDX files, each as `read` returns it by its name."""
    images, labels = (
        np.concatenate([read(f"{part}-{kind}") for part in ("train", "t10k")])
        for kind in ("images", "labels")
    )
    return image_splits(images.reshape(len(images), -1), labels, SIZES, pixels)


def idx_name(name: str) -> str:
    """Return what a file of images or labels is called."""
    return f"{name}-idx{3 if name.endswith('images') else 1}-ubyte"


def _part(name: str) -> np.ndarray:
    plain = idx_name(name)
    file = PublicFile(
        folder="mnist",
        names=(f"{plain}.gz", plain, plain.replace("-idx", ".idx")),
        urls=tuple(f"{mirror}/{plain}.gz" for mirror in MIRRORS),
        max_bytes=NUM_BYTES[name],
    )
    return obtain(file, _accept(SHA256[name], NUM_BYTES[name]))


def _accept(sha256: str, num_bytes: int) -> Callable[[bytes], np.ndarray]:
    return lambda content: parse_idx(require_sha256(gunzip(content, num_bytes), sha256))
