"""Arrays of numbers in MATLAB files of version 5, read by hand from what anyone may have written.

What scipy reads them with ends the process on some damaged files. Layout (MathWorks, "MAT-File
Format", 1): a header of 128 bytes, then elements of type, length and data; an array is an element
of flags, lengths of its axes, name and numbers, along columns first, and may be packed by zlib.
Whatever is wrong with a file is a ValueError, or a zlib.error.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from avi.datasets.formats import MAX_DIMENSIONS

HEADER = 128
HEAD = 4096  # bytes of a packed array that hold its flags, lengths and name
INT32, UINT32, ARRAY, PACKED = 5, 6, 14, 15
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", INT32: "i4", UINT32: "u4", 7: "f4", 9: "f8"}
TYPES |= {12: "i8", 13: "u8"}
SPARSE, NUMBERS = 5, range(5, 16)  # classes of arrays: before them cells, structures and text
COMPLEX = 0x0800  # a flag

Element = tuple[int, bytes]  # type and data


class Array5(NamedTuple):
    """One array of a file, not yet unpacked."""

    shape: tuple[int, ...]
    sparse: bool
    element: Element
    order: str  # of bytes: < or >

    def values(self, limit: int) -> np.ndarray:
        """Return the numbers in the type that they are stored in, of at most `limit` bytes."""
        if 8 * math.prod(self.shape) > limit:
            raise ValueError(f"its array needs {8 * math.prod(self.shape)} bytes of {limit}")
        parts = list(_elements(_body(self.element, limit), self.order))
        if len(parts) != (6 if self.sparse else 4):
            raise ValueError("its array is not whole")
        numbers = [_numbers(part, self.order) for part in parts[3:]]
        if self.sparse:
            return _dense(self.shape, *numbers)
        (flat,) = numbers
        if len(flat) != math.prod(self.shape):
            raise ValueError("its array does not have the size it claims")
        return flat.reshape(self.shape[::-1]).T


def arrays_of(content: bytes) -> dict[str, Array5]:
    """Return the arrays of real numbers in a file, by name; what else it holds is left."""
    order = {b"IM": "<", b"MI": ">"}.get(content[HEADER - 2 : HEADER])
    if order is None:
        raise ValueError("it is not a MATLAB 5 file")
    found = {}
    for element in _elements(content[HEADER:], order):
        if element[0] not in (ARRAY, PACKED):
            continue
        head = list(_elements(_body(element, HEAD), order))[:3]
        if len(head) < 3 or len(head[0][1]) != 8 or head[1][0] != INT32:
            raise ValueError("its array has no sensible head")
        flags = int(_numbers(head[0], order)[0])
        shape = tuple(_numbers(head[1], order).tolist())
        if not 2 <= len(shape) <= MAX_DIMENSIONS or min(shape) < 0:
            raise ValueError("its array has no sensible shape")
        if flags & 0xFF in NUMBERS and not flags & COMPLEX:
            name = head[2][1].decode("latin1")
            found[name] = Array5(shape, flags & 0xFF == SPARSE, element, order)
    return found


def matrix(
    arrays: Mapping[str, Array5], name: str, shape: tuple[int, int], limit: int = 2**28
) -> np.ndarray:
    """Return the array of this name; ValueError unless it is there and has this shape."""
    if name not in arrays:
        raise ValueError(f"it holds no array {name}")
    if arrays[name].shape != shape:
        found = " x ".join(map(str, arrays[name].shape))
        raise ValueError(f"its array {name} is {found}, not {shape[0]} x {shape[1]}")
    return arrays[name].values(limit)


def _body(element: Element, limit: int) -> bytes:
    """Return the data of an array, of at most `limit` bytes if it is packed."""
    kind, data = element
    if kind == ARRAY:
        return data
    unpacked = zlib.decompressobj().decompress(data, limit + 8)
    # Its own type and length come first; the length is that of all, also where a part is read.
    if unpacked[:4] not in (b"\x0e\0\0\0", b"\0\0\0\x0e"):
        raise ValueError("what it has packed is no array")
    return unpacked[8:]


def _numbers(element: Element, order: str) -> np.ndarray:
    kind, data = element
    if kind not in TYPES or len(data) % int(TYPES[kind][1]):
        raise ValueError("its array does not hold numbers")
    return np.frombuffer(data, order + TYPES[kind]).astype(TYPES[kind])


def _dense(
    shape: tuple[int, ...], rows: np.ndarray, starts: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return a matrix of which only some places are stored, column by column."""
    height, width = shape
    rows, starts = rows.astype(np.int64), starts.astype(np.int64)
    lengths = np.diff(starts)
    if len(starts) != width + 1 or starts[0] != 0 or (lengths < 0).any():
        raise ValueError("its sparse array has no sensible columns")
    number = int(starts[-1])
    rows, values = rows[:number], values[:number]
    if min(len(rows), len(values)) < number or (
        number and not 0 <= rows.min() <= rows.max() < height
    ):
        raise ValueError("its sparse array points outside itself")
    dense = np.zeros(shape, values.dtype)
    dense[rows, np.repeat(np.arange(width), lengths)] = values
    return dense


def _elements(content: bytes, order: str) -> Iterator[Element]:
    """Yield the elements that follow one another; a small one keeps its data in the tag."""
    place = 0
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            yield kind, content[place + 4 : place + 4 + min(size, 4)]
            place += 8
            continue
        yield kind, content[place + 8 : place + 8 + size]
        place += 8 + size + (-size % 8 if kind != PACKED else 0)
