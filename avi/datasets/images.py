"""What data sets of images share: how a stored row of pixels becomes x, and what is said of it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Array, Float, Int

from avi.datasets.base import fixed
from avi.datasets.binarize import Binarize, Pixels, idle, pixels
from avi.types import Dataset, Splits, Support


@dataclass(frozen=True)
class Images:
    """Rows of pixels from black, 0, to `white`; a data set adds its own files and its splits."""

    binarize: Binarize
    binarize_seed: int

    white: ClassVar[int] = 255  # the value of a white pixel
    image_shape: ClassVar[tuple[int, ...]]  # height, width and perhaps channels

    def __post_init__(self) -> None:
        _ = self.pixels

    @property
    def pixels(self) -> Pixels:
        """How grey values become x."""
        return pixels(self.binarize, self.white, self.binarize_seed)

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        return idle(self.binarize)

    @property
    def support(self) -> Support:
        """That of x."""
        return self.pixels.support

    @property
    def redraws(self) -> bool:
        """Whether x is drawn anew at every visit."""
        return self.pixels.redraws

    def load(self) -> Splits:
        """Return the splits, each set's own."""
        raise NotImplementedError

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return x of a stored row."""
        return self.pixels.view(row, index, visit)

    def fixed(self) -> Dataset:
        """Return the view of reports."""
        return fixed(self)


def upright(rows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return images [N, D] line by line that are stored column by column, as MATLAB does."""
    height, width = shape
    columns = rows.reshape(len(rows), width, height)
    return np.ascontiguousarray(columns.transpose(0, 2, 1)).reshape(rows.shape)
