"""Images as PNG bytes: pixels repeated, never smoothed."""

import io
from collections.abc import Sequence

import numpy as np


def mosaic(rows: Sequence[np.ndarray], *, bands: int = 2, wide: int = 1200) -> bytes:
    """Return a PNG of image stacks [n, h, w(, 3)], shown one over another in at most `bands` bands.

    All stacks share one grey scale, so that a reconstruction can be compared with its input; pixels
    are repeated, never smoothed, and what lies between images is transparent.
    """
    available = min(len(stack) for stack in rows)
    columns = _columns(available, bands)
    starts = [columns * band for band in range(min(bands, available // columns))]
    low, high = float(rows[0].min()), float(rows[0].max())
    scale = max(1, wide // (columns * rows[0].shape[2]))
    cuts = [stack[start : start + columns] for start in starts for stack in rows]
    lines = [_line(cut, low, high, scale) for cut in cuts]
    narrow, broad = scale, 3 * scale
    parts = []
    for index, line in enumerate(lines):
        gap = narrow if len(rows) == 1 or (index + 1) % len(rows) else broad
        parts += [line, np.zeros((gap, line.shape[1], 4), np.uint8)]
    return _encode(np.concatenate(parts[:-1]))


def _columns(available: int, bands: int) -> int:
    """Return how many images a band holds, up to 12, so that as many as possible are shown."""
    return max(
        range(1, min(12, available) + 1),
        key=lambda columns: (columns * min(bands, available // columns), columns),
    )


def _line(images: np.ndarray, low: float, high: float, scale: int) -> np.ndarray:
    tiles = [_pixels(image, low, high, scale) for image in images]
    gap = np.zeros((tiles[0].shape[0], scale, 4), np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1)


def _pixels(image: np.ndarray, low: float, high: float, scale: int) -> np.ndarray:
    unit = ((image - low) / max(high - low, 1e-12)).clip(0, 1)
    coloured = unit.ndim == 3 and unit.shape[2] == 3
    colour = unit if coloured else np.repeat(unit.reshape(*unit.shape[:2], 1), 3, axis=2)
    opaque = np.concatenate([colour, np.ones((*colour.shape[:2], 1))], axis=2)
    return np.round(255 * opaque).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)


def tile(image: np.ndarray, *, low: float = 0.0, high: float = 1.0, wide: int = 112) -> bytes:
    """Return one image [h, w(, 3)] as a PNG of about `wide` pixels."""
    return _encode(_pixels(image, low, high, max(1, wide // image.shape[1])))


def _encode(pixels: np.ndarray) -> bytes:
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return buffer.getvalue()


def shape_of(stated: np.ndarray | None, recorded: Sequence[float]) -> tuple[int, ...] | None:
    """Return the image shape that a snapshot or run.json states, None for what is no image."""
    sizes = list(recorded) if stated is None else stated.ravel().tolist()
    if len(sizes) not in (2, 3) or not all(isinstance(s, int | float) for s in sizes):
        return None
    return tuple(int(size) for size in sizes) if np.isfinite(sizes).all() else None


def stack(rows: np.ndarray | None, shape: tuple[int, ...] | None) -> np.ndarray | None:
    """Return rows as images [n, h, w(, 3)], None where they are not images of that shape."""
    if rows is None or shape is None or rows.ndim < 2 or not len(rows):
        return None
    if rows[0].size != np.prod(shape) or not np.isfinite(rows).all():
        return None
    return rows.reshape(len(rows), *shape).astype(float)
