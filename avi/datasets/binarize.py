"""From grey pixels to what a bound scores: drawn once, at every visit, cut at half, or left grey.

A pixel of value p in [0, 1] becomes 1 with probability p, to 2^-17: white is always 1 and black
always 0. The draw is a pure function of (seed, row id, visit): one hash gives a key for this row
and visit, further ones give 64 bits each, the thresholds of four pixels.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from avi.randomness import Words, threefry
from avi.types import Support

Binarize = Literal["fixed", "dynamic", "threshold", "none"]

CERTAIN = 2**16  # the level of a pixel that is always 1
RECORDED = -1  # the visit before the first step: the draw that reports use
CHUNK = 1000  # rows drawn at a time on the host


def _hash(seed: int, index: Words, visit: Words, size: int) -> tuple[Words, Words]:
    """Return 2 * size random words for each (index, visit), uint32[..., size] twice."""
    first = np.uint32(seed >> 32), np.uint32(seed & 0xFFFFFFFF)
    key = threefry(first, (index, visit + np.uint32(1)))
    counter = np.arange(size, dtype=np.uint32)
    return threefry((key[0][..., None], key[1][..., None]), (counter, np.zeros_like(counter)))


def draw(
    level: UInt32[Array, " D"], seed: int, index: Int[Array, ""], visit: Int[Array, ""]
) -> Bool[Array, " D"]:
    """Return independent bits that are 1 with probability level / 2^16."""
    row_and_visit = jnp.asarray(index).astype(jnp.uint32), jnp.asarray(visit).astype(jnp.uint32)
    words = jnp.concatenate(_hash(seed, *row_and_visit, -(-level.size // 4)))
    # Halves by shifting would make XLA compute the hash again for each.
    return jax.lax.bitcast_convert_type(words, jnp.uint16).ravel()[: level.size] < level


def draw_rows(
    level: UInt32[np.ndarray, "N D"], seed: int, ids: Int[np.ndarray, " N"]
) -> Bool[np.ndarray, "N D"]:
    """Return the recorded draw of many rows, the same bits as `draw`, on the host."""
    size = level.shape[1]
    visits = np.full(len(ids), RECORDED).astype(np.uint32)
    words = np.concatenate(_hash(seed, ids.astype(np.uint32), visits, -(-size // 4)), axis=1)
    return words.astype("<u4").view("<u2")[:, :size] < level


def level_of(grey: Words, white: int) -> Words:
    """Return the nearest probability in units of 2^-16; `white` is the value of a white pixel."""
    if np.issubdtype(grey.dtype, np.floating):
        return (grey.astype(np.float32) * np.float32(CERTAIN / white)).round().astype(np.uint32)
    return (grey.astype(np.uint32) * np.uint32(CERTAIN) + np.uint32(white // 2)) // np.uint32(white)


class Pixels(Protocol):
    """What is stored of grey rows, and what is seen of a stored row."""

    @property
    def support(self) -> Support: ...
    @property
    def redraws(self) -> bool: ...
    def store(self, grey: np.ndarray, ids: Int[np.ndarray, " N"]) -> np.ndarray: ...
    def view(
        self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]
    ) -> Float[Array, " D"]: ...


@dataclass(frozen=True)
class Fixed:
    """One draw per row, made on loading."""

    white: int
    seed: int
    support: ClassVar[Support] = "binary"
    redraws: ClassVar[bool] = False

    def store(self, grey: np.ndarray, ids: Int[np.ndarray, " N"]) -> np.ndarray:
        """Return bits, uint8 [N, D]."""
        bits = np.empty(grey.shape, np.uint8)
        for start in range(0, len(grey), CHUNK):
            part = slice(start, start + CHUNK)
            bits[part] = draw_rows(level_of(grey[part], self.white), self.seed, ids[part])
        return bits

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return the bits as numbers."""
        del index, visit
        return jnp.asarray(row, float)


@dataclass(frozen=True)
class Dynamic:
    """Fresh draws at every visit, made on the device."""

    white: int
    seed: int
    support: ClassVar[Support] = "binary"
    redraws: ClassVar[bool] = True

    def store(self, grey: np.ndarray, ids: Int[np.ndarray, " N"]) -> np.ndarray:
        """Return the grey rows."""
        del ids
        return grey

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return the draw of this row and visit."""
        level = level_of(jnp.asarray(row), self.white)
        return jnp.asarray(draw(level, self.seed, index, visit), float)


@dataclass(frozen=True)
class Threshold:
    """1 where a pixel is brighter than half."""

    white: int
    support: ClassVar[Support] = "binary"
    redraws: ClassVar[bool] = False

    def store(self, grey: np.ndarray, ids: Int[np.ndarray, " N"]) -> np.ndarray:
        """Return bits, uint8 [N, D]."""
        del ids
        return (grey > self.white / 2).astype(np.uint8)

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return the bits as numbers."""
        del index, visit
        return jnp.asarray(row, float)


@dataclass(frozen=True)
class Grey:
    """Pixels as they are, scaled to [0, 1]."""

    white: int
    support: ClassVar[Support] = "unit"
    redraws: ClassVar[bool] = False

    def store(self, grey: np.ndarray, ids: Int[np.ndarray, " N"]) -> np.ndarray:
        """Return the grey rows."""
        del ids
        return grey

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return the row over the value of white."""
        del index, visit
        return jnp.asarray(row, float) / self.white


def idle(binarize: Binarize) -> dict[str, str]:
    """Return the keys of a data set of pixels that do nothing under this `binarize`, and why."""
    if binarize in ("fixed", "dynamic"):
        return {}
    return {"binarize_seed": f"nothing is drawn under binarize={binarize}."}


def pixels(binarize: Binarize, white: int, seed: int) -> Pixels:
    """Return what a yaml's `binarize` names; `white` is the value of a white pixel."""
    choices: dict[Binarize, Pixels] = {
        "fixed": Fixed(white, seed),
        "dynamic": Dynamic(white, seed),
        "threshold": Threshold(white),
        "none": Grey(white),
    }
    if not 0 <= seed < 2**64:
        raise ValueError(f"binarize_seed must be 0 or more, below 2^64; got {seed}.")
    return choices[binarize]
