"""Small tables that are part of every textbook, and of avi."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.datasets.base import cut, permutation, sizes_of
from avi.types import Dataset, Origin, Splits, Support, X

# Effects of coaching on the SAT in eight schools and their standard errors (Rubin 1981).
EFFECTS = (28, 8, -3, 7, -1, 1, 18, 12)
ERRORS = (15, 10, 16, 11, 9, 11, 10, 18)

# Deaths by horse kicks, 1875 to 1894 (Bortkiewicz 1898).
CORPS = ("G", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XIV", "XV")
DEATHS = """
00000001100010 20001000000011 20000011001020 12211000001010 00011220100210 03211100021430
10021001010000 12000010112141 00120121010300 30100001002011 00000010020101 21001110010130
11210032110120 01100110000110 00110110012202 12020112021122 00011101103310 13201130110110
01000102001300 10000000101100
"""


@dataclass(frozen=True)
class EightSchools:
    """One observation: eight effects with known standard errors; x = {"scale", "value"}."""

    support: ClassVar[Support] = "real"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def load(self) -> Splits:
        """Return pairs (scale, value), float32 [1, 8, 2], for training; no others."""
        row = np.stack([ERRORS, EFFECTS], axis=1).astype(np.float32)[None]
        return Splits(*cut(row, (1, 0, 0)))

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> X:
        """Return {"scale", "value"}."""
        del index, visit
        pairs = jnp.asarray(row, float)
        return {"scale": pairs[:, 0], "value": pairs[:, 1]}

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


@dataclass(frozen=True)
class HorseKicks:
    """20 years, each with the deaths in 14 corps, in random order."""

    num_valid: int
    num_test: int
    split_seed: int

    support: ClassVar[Support] = "count"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        sizes_of(len(DEATHS.split()), self.num_valid, self.num_test)

    def load(self) -> Splits:
        """Return the splits, uint8 [N, 14]; a person's row 0 is the year 1875."""
        rows = np.array([[int(digit) for digit in year] for year in DEATHS.split()], np.uint8)
        order = permutation(len(rows), self.split_seed)
        parts = cut(rows[order], sizes_of(len(rows), self.num_valid, self.num_test))
        return Splits(*parts, origin=Origin(order, columns=CORPS))

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return the row as numbers."""
        del index, visit
        return jnp.asarray(row, float)

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self
