"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): clothes in the form of MNIST, from Zalando."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from avi.datasets.fetch import PublicFile, obtain, require_md5
from avi.datasets.formats import gunzip, parse_idx
from avi.datasets.images import Images
from avi.datasets.mnist import NUM_BYTES, SHAPE, idx_name, idx_splits
from avi.types import Splits

MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
# MD5 of the packed files, as their page has it.
MD5 = {
    "train-images": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(frozen=True)
class FashionMnist(Images):
    """70000 images of 784 pixels, grey values 0..255, with their classes."""

    image_shape: ClassVar[tuple[int, ...]] = SHAPE

    def load(self) -> Splits:
        """Return the splits, from AVI_DATA_DIR, the cache or the network."""
        return idx_splits(_part, self.pixels)


def _part(name: str) -> np.ndarray:
    packed = f"{idx_name(name)}.gz"
    urls = tuple(f"{mirror}/{packed}" for mirror in MIRRORS)

    def accept(content: bytes) -> np.ndarray:
        return parse_idx(gunzip(require_md5(content, MD5[name]), NUM_BYTES[name]))

    return obtain(PublicFile("fashion_mnist", (packed,), urls, NUM_BYTES[name]), accept)
