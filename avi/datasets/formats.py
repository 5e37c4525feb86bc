"""Readers of array files that may come from anyone: bounded, typed, and never running code.

Each header is read and checked before memory is taken for what it promises. Whatever is wrong with
a file's form is a ValueError or one of its kin here, and a DataError naming it under `data_errors`.
"""

import ast
import codecs
import csv
import lzma
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from avi.errors import DataError
from avi.mapped import MAPPED_BYTES, Mapped, Rows

HEADER_LIMIT = 10_000  # characters of an .npy header
MAX_DIMENSIONS = 8
GZIP = b"\x1f\x8b"  # how it begins
XZ_MEMORY = 2**27  # bytes, for the dictionary of the highest preset
PACKED = (".gz", ".xz")
LOCAL_HEADER = 30  # bytes before the name of a member in a zip file, its last two words lengths
ORDER_BYTES = 64  # of memory that knowing a row on disk takes: its place, its id, its turn
ENCRYPTED = 1  # a flag of a member


def byte_limit() -> int:
    """Return the largest array that is read: a quarter of the physical memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


@contextmanager
def data_errors(source: str) -> Iterator[None]:
    """Turn what parsers raise on a malformed file into a DataError naming it."""
    try:
        yield
    except (
        ValueError,
        SyntaxError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        OverflowError,
        MemoryError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        csv.Error,
        OSError,  # a zip that points before its own beginning
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source} cannot be read: {reason}.") from error


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is not a regular file.")
        if status.st_size > limit:
            raise DataError(f"{path} has {status.st_size} bytes; expected at most {limit}.")
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def kind_of(path: Path) -> str:
    """Return the ending that says how a file is read, .csv of mine.csv.gz."""
    return Path(path.stem).suffix if path.suffix in PACKED else path.suffix


def read_unpacked(path: Path, limit: int) -> bytes:
    """Return the content of a file, unpacked if it is packed; at most `limit` bytes.

    Raises:
        DataError: there is no such file, or it is too large.
        ValueError, zlib.error, LZMAError: what is packed is malformed.
    """
    content = read_file(path, limit)
    unpack = {".gz": gunzip, ".xz": unxz}.get(path.suffix)
    return content if unpack is None else unpack(content, limit)


def gunzip(content: bytes, limit: int) -> bytes:
    """Return `content`, unpacked if it is gzip, of one stream or more; at most `limit` bytes."""
    if not content.startswith(GZIP):
        return content
    unpacked = b""
    while content.startswith(GZIP):
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        unpacked += unpacker.decompress(content, limit + 1 - len(unpacked))
        if len(unpacked) > limit:
            raise ValueError(f"unpacks to more than {limit} bytes")
        if not unpacker.eof:
            raise ValueError("the gzip stream is truncated")
        content = unpacker.unused_data
    return unpacked


def unxz(content: bytes, limit: int) -> bytes:
    """Return `content` of .xz unpacked, of one stream or more; at most `limit` bytes."""
    unpacked = b""
    while content:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        unpacked += unpacker.decompress(content, limit + 1 - len(unpacked))
        if len(unpacked) > limit:
            raise ValueError(f"unpacks to more than {limit} bytes")
        if not unpacker.eof:
            raise ValueError("the xz stream is truncated")
        content = unpacker.unused_data
    return unpacked


# --- text -----------------------------------------------------------------------------------------


def decode(content: bytes) -> tuple[str, str]:
    """Return text and its encoding: by its byte order mark, else UTF-8, UTF-16 or Windows' 1252."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding), encoding
    # Latin letters in UTF-16 have a zero in every second byte, text in UTF-8 has none.
    head = content[:1000]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) > 3 and head[first::2].count(0) > 0.9 * len(head[first::2]):
            return content.decode(encoding), encoding
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp1252"), "cp1252"


_MARKS = (  # that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


# --- IDX (MNIST) ----------------------------------------------------------------------------------


def parse_idx(content: bytes) -> np.ndarray:
    """Return the unsigned bytes of an IDX file.

    Layout: 0, 0, 8 (unsigned byte), number of dimensions, lengths as big-endian words, the bytes.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("it is not an IDX file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if not 1 <= dimensions <= MAX_DIMENSIONS or len(content) < start:
        raise ValueError("its IDX header is incomplete")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if math.prod(shape) != len(content) - start:
        raise ValueError(
            f"its header promises {math.prod(shape)} bytes, but {len(content) - start} follow"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


# --- .npy and .npz --------------------------------------------------------------------------------


def read_npy(file: IO[bytes], num_bytes: int) -> np.ndarray:
    """Return the array of an .npy file of `num_bytes` bytes; numbers and truth values only."""
    shape, fortran_order, dtype = _npy_header(file)
    promised = math.prod(shape) * dtype.itemsize
    present = num_bytes - file.tell()
    if promised != present:
        raise ValueError(f"its header promises {promised} bytes, but {present} follow")
    if promised > byte_limit():
        why = " and is not stored row after row" if fortran_order else ""
        raise ValueError(f"it needs {promised} bytes, more than a quarter of the memory{why}")
    content = file.read(promised)
    if len(content) != promised or file.read(1):
        raise ValueError("its length is not what it claims")
    flat = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)


def map_npy(file: IO[bytes], begin: int, num_bytes: int) -> Mapped | None:
    """Return the rows of the .npy file that is `num_bytes` bytes of `file` from `begin` on.

    They stay there. None if the file does not store one after the other, or so many so short ones
    that to know their order takes as much memory.
    """
    file.seek(begin)
    shape, fortran_order, dtype = _npy_header(file)
    start = file.tell()
    promised, present = math.prod(shape) * dtype.itemsize, begin + num_bytes - start
    if len(shape) < 2 or fortran_order or promised != present:
        return None
    if shape[0] * ORDER_BYTES > min(promised, byte_limit()):
        return None
    return Mapped.of(np.asarray(np.memmap(file, dtype, "r", start, shape)))


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) != 8 or magic[6] not in (1, 2, 3):
        raise ValueError("it is not an .npy file")
    form = "<H" if magic[6] == 1 else "<I"
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
    if length > HEADER_LIMIT:
        raise ValueError(f"its header has {length} bytes; expected at most {HEADER_LIMIT}")
    text = file.read(length)
    header = ast.literal_eval(text.decode("latin1" if magic[6] < 3 else "utf8").strip())
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header is not that of an .npy file")
    return _checked_header(header["shape"], header["fortran_order"], header["descr"])


def _checked_header(
    shape: object, fortran_order: object, descr: object
) -> tuple[tuple[int, ...], bool, np.dtype]:
    if not (
        isinstance(shape, tuple)
        and len(shape) <= MAX_DIMENSIONS
        and all(type(length) is int and 0 <= length < 2**62 for length in shape)
        and isinstance(fortran_order, bool)
    ):
        raise ValueError("its header makes no sense")
    if not isinstance(descr, str) or not re.fullmatch(r"[<>=|]?[biuf][0-9]{1,2}", descr):
        raise ValueError(f"its dtype is {str(descr)[:40]!r}; expected numbers (never objects)")
    return shape, fortran_order, np.dtype(descr)


def read_npz(file: IO[bytes], name: str | None) -> np.ndarray:
    """Return one array of an .npz archive: that called `name`, or the only one."""
    with zipfile.ZipFile(file) as archive:
        return _read_member(archive, _member(archive, name))


def read_all_npz(file: IO[bytes], limit: int) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz archive, of at most `limit` bytes together."""
    with zipfile.ZipFile(file) as archive:
        arrays = _members(archive)
        promised = sum(member.file_size for member in arrays.values())
        if promised > limit:
            raise ValueError(f"unpacks to {promised} bytes; expected at most {limit}")
        return {name: _read_member(archive, member) for name, member in arrays.items()}


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {
        member.filename.removesuffix(".npy"): member
        for member in archive.infolist()
        if member.filename.endswith(".npy")
    }


def _member(archive: zipfile.ZipFile, name: str | None) -> zipfile.ZipInfo:
    arrays = _members(archive)
    if name is None and len(arrays) != 1:
        raise ValueError(f"it holds {_names(arrays)}; name one with dataset.array=<name>")
    if name is not None and name not in arrays:
        raise ValueError(f"it holds {_names(arrays)}, but not {name!r}")
    return arrays[name] if name is not None else next(iter(arrays.values()))


def _start(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member that is not packed begin in the archive."""
    file.seek(member.header_offset)
    header = file.read(LOCAL_HEADER)
    if len(header) < LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
        raise ValueError("its directory points where nothing begins")
    if member.flag_bits & ENCRYPTED or member.compress_size != member.file_size:
        raise ValueError("it is packed in a way that numpy does not write")
    return member.header_offset + LOCAL_HEADER + sum(struct.unpack("<HH", header[-4:]))


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed in a way that numpy does not write")
    # What is unpacked ends where the archive's directory says, whatever follows there.
    with archive.open(member) as content:
        return read_npy(content, member.file_size)


def _names(arrays: dict[str, zipfile.ZipInfo]) -> str:
    return ", ".join(sorted(arrays)[:10]) or "no arrays"


def load_array(path: Path, name: str | None) -> Rows:
    """Return the array in an .npy or .npz file; a large one stays there, if it can be mapped."""
    if not path.is_file():
        raise DataError(f"{path} is not a file.")
    with data_errors(str(path)), path.open("rb") as file:
        if path.suffix == ".npz":
            return _array_of_npz(file, name)
        size = path.stat().st_size
        rows = map_npy(file, 0, size) if size > MAPPED_BYTES else None
        file.seek(0)
        return read_npy(file, size) if rows is None else rows


def _array_of_npz(file: IO[bytes], name: str | None) -> Rows:
    with zipfile.ZipFile(file) as archive:
        member = _member(archive, name)
        rows = None
        if member.file_size > MAPPED_BYTES and member.compress_type == zipfile.ZIP_STORED:
            rows = map_npy(file, _start(file, member), member.file_size)
        return _read_member(archive, member) if rows is None else rows


# --- text of 0 and 1 (.amat) ----------------------------------------------------------------------


_SPACE, _NEITHER = 2, 3
_BITS = np.full(256, _NEITHER, np.uint8)  # by character: the digit 0 or 1, white space, or neither
_BITS[list(b"01 \t\r\n")] = 0, 1, _SPACE, _SPACE, _SPACE, _SPACE


def parse_bits(content: bytes, width: int) -> np.ndarray:
    """Return uint8 [N, width] from lines of `width` digits 0 or 1, separated by white space."""
    values = _BITS[np.frombuffer(content, np.uint8)]
    is_digit = values < 2
    if (values == _NEITHER).any() or (is_digit[1:] & is_digit[:-1]).any():
        raise ValueError("it does not hold only 0 and 1, separated by spaces")
    bits = values[is_digit]
    if bits.size == 0 or bits.size % width:
        raise ValueError(f"it holds {bits.size} digits, not rows of {width}")
    return bits.reshape(-1, width)
