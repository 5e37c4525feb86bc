"""Files of every kind that is read, an independent reader of each, and how to spoil them.

A benign change leaves the meaning alone: such a file must be read as before. Any other change is
read as the independent reader reads it, or refused with a typed error.
"""

import csv
import gzip
import io
import json
import math
import random
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from safetensors.numpy import save

from avi.datasets import documents
from avi.datasets.cells import MISSING, Dress
from avi.datasets.columns import Reading
from avi.datasets.formats import data_errors, gunzip, load_array, parse_idx
from avi.datasets.tables import read_table
from avi.rundir.bounded import read_tree

LIMIT = 2**24


class Kind(NamedTuple):
    """One kind of file."""

    suffix: str
    make: Callable[[random.Random], bytes]
    read: Callable[[Path], Any]
    reference: Callable[[bytes], Any]  # raises what it likes
    benign: tuple[Callable[[bytes, random.Random], bytes], ...]


def array(rng: random.Random) -> np.ndarray:
    """Return a small array of numbers."""
    dtype = np.dtype(rng.choice(["<f4", "<f8", ">f4", "u1", "<i4", ">i8", "?", "<f2"]))
    shape = [rng.randint(1, 5) for _ in range(rng.randint(2, 3))]
    values = np.asarray([rng.randint(0, 100) for _ in range(math.prod(shape))])
    made = values.astype(dtype).reshape(shape)
    return np.asfortranarray(made) if rng.random() < 0.3 else made


def table(rng: random.Random) -> list[list[str]]:
    """Return rows of numbers as words."""
    width = rng.randint(1, 5)
    numbers = ["0", "1", "-2.5", "1e-3", "7.25", "12345", ".5", "-0.0"]
    return [[rng.choice(numbers) for _ in range(width)] for _ in range(rng.randint(1, 6))]


def bags(rng: random.Random) -> list[dict[int, int]]:
    """Return documents: term id -> count."""
    return [
        {term: rng.randint(1, 99) for term in rng.sample(range(20), rng.randint(1, 6))}
        for _ in range(rng.randint(1, 6))
    ]


def saved(write: Callable, *arguments: Any, **keywords: Any) -> bytes:
    """Return what `write` writes."""
    buffer = io.BytesIO()
    write(buffer, *arguments, **keywords)
    return buffer.getvalue()


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal, arrays bit for bit, NaN to NaN."""
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and _bits(one) == _bits(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def _bits(one: np.ndarray) -> bytes:
    values = one.copy()
    if values.dtype.kind == "f":
        values[np.isnan(values)] = np.nan
    return values.tobytes()


# Arrays -------------------------------------------------------------------------------------------


def _native(found: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(found.astype(found.dtype.newbyteorder("=")))


def _npy_again(content: bytes, rng: random.Random) -> bytes:
    found = np.load(io.BytesIO(content))
    version = rng.choice([(1, 0), (2, 0), (3, 0)])
    return saved(lambda file: np.lib.format.write_array(file, found, version=version))


def _npy_wider_header(content: bytes, rng: random.Random) -> bytes:
    (length,) = struct.unpack("<H", content[8:10])
    pad = 64 * rng.randint(1, 3)
    header = content[10 : 10 + length].rstrip(b"\n") + b" " * pad + b"\n"
    return content[:8] + struct.pack("<H", len(header)) + header + content[10 + length :]


def _npz(method: int) -> Callable[[bytes, random.Random], bytes]:
    def again(content: bytes, rng: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inner = archive.read("x.npy")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            if rng.random() < 0.5:
                archive.comment = b"a comment"
                archive.writestr("readme.txt", "not an array")
            archive.writestr("x.npy", _npy_again(inner, rng))
        return buffer.getvalue()

    return again


def _read_idx(path: Path) -> np.ndarray:
    with data_errors(str(path)):
        return parse_idx(gunzip(path.read_bytes(), LIMIT))


def _idx(rng: random.Random) -> bytes:
    values = array(rng).astype(np.uint8)
    return (
        b"\0\0\x08"
        + bytes([values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + (values.tobytes())
    )


def _reference_idx(content: bytes) -> np.ndarray:
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    assert content[:3] == b"\0\0\x08"
    shape = np.frombuffer(content, ">u4", content[3], 4).astype(int)
    return np.frombuffer(content[4 + 4 * len(shape) :], np.uint8).reshape(shape)


# Tables -------------------------------------------------------------------------------------------


def _csv(rng: random.Random) -> bytes:
    return "".join(",".join(row) + "\n" for row in table(rng)).encode()


def _reference_csv(content: bytes) -> np.ndarray:
    text = content.decode("utf-8-sig").rstrip("\r\n")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    values = [
        [math.nan if word.strip().lower() in MISSING else float(word) for word in row]
        for row in rows
    ]
    assert len({len(row) for row in values}) == 1
    return np.array(values)


def _spaced(content: bytes, rng: random.Random) -> bytes:
    return content.replace(b",", rng.choice([b", ", b" ,", b"  ,\t"]))


def _quoted(content: bytes, rng: random.Random) -> bytes:
    del rng
    return re.sub(rb"[^,\n]+", lambda match: b'"' + match[0] + b'"', content)


def _crlf(content: bytes, rng: random.Random) -> bytes:
    del rng
    return content.replace(b"\n", b"\r\n")


def _marked(content: bytes, rng: random.Random) -> bytes:
    del rng
    return b"\xef\xbb\xbf" + content


def _without_end(content: bytes, rng: random.Random) -> bytes:
    del rng
    return content.rstrip(b"\n")


# Documents ----------------------------------------------------------------------------------------


def _lda_c(rng: random.Random) -> bytes:
    lines = (
        f"{len(bag)} " + " ".join(f"{term}:{count}" for term, count in bag.items())
        for bag in bags(rng)
    )
    return ("\n".join(lines) + "\n").encode()


def _svmlight(rng: random.Random) -> bytes:
    lines = (
        f"{rng.choice([0, 1, -1])} "
        + " ".join(f"{term}:{count}" for term, count in sorted(bag.items()))
        for bag in bags(rng)
    )
    return ("\n".join(lines) + "\n").encode()


def _matrix_market(rng: random.Random) -> bytes:
    made = bags(rng)
    entries = [
        f"{row} {term + 1} {count}"
        for row, bag in enumerate(made, 1)
        for term, count in sorted(bag.items())
    ]
    size = f"{len(made)} 20 {len(entries)}"
    head = "%%MatrixMarket matrix coordinate integer general"
    return "\n".join([head, "% made here", size, *entries, ""]).encode()


def _documents(layout: str) -> Callable[[Path], list[dict[int, int]]]:
    def read(path: Path) -> list[dict[int, int]]:
        found = documents.read_counts(path.read_bytes(), str(path), layout, None, 0)
        return [
            {
                int(found.ids[place]): int(found.counts[place])
                for place in range(start, start + length)
            }
            for start, length in zip(found.starts, found.lengths, strict=True)
        ]

    return read


def _reference_pairs(skip: int) -> Callable[[bytes], list[dict[int, int]]]:
    def read(content: bytes) -> list[dict[int, int]]:
        made = []
        for line in content.decode("utf-8-sig").splitlines():
            text = line.split("#")[0] if skip else line
            if skip and not text.strip() and line.strip():
                continue
            words = [word for word in text.split()[1:] if not word.startswith("qid:")]
            pairs = [(int(a), float(b)) for a, _, b in (word.partition(":") for word in words)]
            made.append({term: int(count) for term, count in pairs if count})
        return made

    return read


def _reference_matrix(content: bytes) -> list[dict[int, int]]:
    # Not scipy.io.mmread, which some of these files make crash.
    lines = [line.split() for line in content.decode("utf-8-sig").splitlines()[1:]]
    (number, _, _), *entries = [line for line in lines if line and not line[0].startswith("%")]
    made: list[dict[int, int]] = [{} for _ in range(int(number))]
    for row, column, count in entries:
        if float(count):
            made[int(row) - 1][int(column) - 1] = int(float(count))
    return made


def _more_spaces(content: bytes, rng: random.Random) -> bytes:
    return content.replace(b" ", b" " * rng.randint(2, 3))


def _commented(content: bytes, rng: random.Random) -> bytes:
    lines = [line + rng.choice([b"", b" # a comment"]) for line in content.splitlines()]
    return b"\n".join([b"# a comment", *lines])


def _zeros(content: bytes, rng: random.Random) -> bytes:
    del rng
    return b"\n".join(line + b" 19999:0" for line in content.splitlines())


def _query(content: bytes, rng: random.Random) -> bytes:
    return re.sub(rb"(?m)^(\S+) ", rb"\1 qid:%d " % rng.randint(1, 9), content)


def _more_remarks(content: bytes, rng: random.Random) -> bytes:
    del rng
    return content.replace(b"\n", b"\n% another\n%\n", 1)


# A run's config ----------------------------------------------------------------------------------


def _reference_tree(content: bytes) -> Any:
    return yaml.safe_load(content)


def _dumped(**style: Any) -> Callable[[bytes, random.Random], bytes]:
    def again(content: bytes, rng: random.Random) -> bytes:
        tree = yaml.safe_load(content)
        names = list(tree)
        rng.shuffle(names)
        return yaml.safe_dump({name: tree[name] for name in names}, **style).encode()

    return again


def _remarked(content: bytes, rng: random.Random) -> bytes:
    del rng
    return b"# a remark\n---\n" + content.replace(b"\n", b"   # so\n", 3)


def config_kind(tree: dict[str, Any]) -> Kind:
    """Return the kind of a config.yaml that says `tree`."""

    def make(rng: random.Random) -> bytes:
        del rng
        return yaml.safe_dump(tree, sort_keys=False).encode()

    styles = (
        _dumped(default_flow_style=True),
        _dumped(default_style='"'),
        _dumped(indent=7, width=30),
        _dumped(explicit_start=True, explicit_end=True),
        _remarked,
    )
    return Kind(".yaml", make, read_tree, _reference_tree, styles)


# A checkpoint's two files, as the manifest sees them ----------------------------------------------


def safetensors_state(rng: random.Random) -> dict[str, np.ndarray]:
    """Return named arrays as a checkpoint holds them."""
    return {f".params[{n}]": _native(array(rng)) for n in range(rng.randint(1, 3))}


def respelled_manifest(content: bytes, rng: random.Random) -> bytes:
    """Write the same JSON otherwise."""
    record = json.loads(content)
    names = list(record)
    rng.shuffle(names)
    indent = rng.choice([None, 1, 4])
    return json.dumps({name: record[name] for name in names}, indent=indent).encode()


def encoded(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the content of a safetensors file."""
    return save(arrays)


KINDS = {
    "npy": Kind(
        ".npy",
        lambda rng: saved(np.save, array(rng)),
        lambda path: _native(load_array(path, None)),
        lambda content: _native(np.load(io.BytesIO(content), allow_pickle=False)),
        (_npy_again, _npy_wider_header),
    ),
    "npz": Kind(
        ".npz",
        lambda rng: saved(rng.choice([np.savez, np.savez_compressed]), x=array(rng)),
        lambda path: _native(load_array(path, "x")),
        lambda content: _native(np.load(io.BytesIO(content), allow_pickle=False)["x"]),
        (_npz(zipfile.ZIP_STORED), _npz(zipfile.ZIP_DEFLATED)),
    ),
    "idx": Kind(
        ".idx",
        _idx,
        _read_idx,
        _reference_idx,
        (
            lambda content, rng: gzip.compress(content, rng.randint(1, 9)),
            lambda content, rng: gzip.compress(content, mtime=rng.randint(0, 2**31)),
        ),
    ),
    "csv": Kind(
        ".csv",
        _csv,
        lambda path: read_table(path, Reading(dress=Dress(header=False))).rows,
        _reference_csv,
        (_spaced, _quoted, _crlf, _marked, _without_end),
    ),
    "lda-c": Kind(
        ".dat",
        _lda_c,
        _documents("lda-c"),
        _reference_pairs(0),
        (_crlf, _more_spaces, _without_end, _marked),
    ),
    "svmlight": Kind(
        ".svm",
        _svmlight,
        _documents("svmlight"),
        _reference_pairs(1),
        (_crlf, _more_spaces, _commented, _zeros, _query),
    ),
    "matrix-market": Kind(
        ".mtx",
        _matrix_market,
        _documents("matrix-market"),
        _reference_matrix,
        (_crlf, _more_spaces, _more_remarks, _without_end),
    ),
}


# Damage -------------------------------------------------------------------------------------------

WORDS = [
    b"NaN", b"inf", b"-1", b"0", b"1e400", b"99999999999999999999", b"1_000", b"0x10", b"",
    b"\x00", b"\xff\xfe", b",,,", b":", b"\n\n", b"${oc.env:HOME}", b"!!python/name:os.system",
    b"&a *a", b"'", b'"', b"\xe2\x80\xa8", b"\xd9\xa3", b"\x85", b"\x1c", b"[[[[", b"{", b"-",
    b"\xc2\xa0", b"1:", b"#", b"%", b"true", b"~", b"1.5",
]  # fmt: skip


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return `content` after one to three small accidents."""
    spoiled = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        place = rng.randrange(len(spoiled) + 1)
        end = min(len(spoiled), place + rng.choice([1, 1, 2, 4, 16, 64]))
        match rng.randrange(7):
            case 0 if place < len(spoiled):
                spoiled[place] ^= 1 << rng.randrange(8)
            case 1:
                del spoiled[place:]
            case 2:
                spoiled[place:place] = rng.randbytes(rng.randint(1, 8))
            case 3:
                del spoiled[place:end]
            case 4:
                spoiled[place:place] = spoiled[place:end]
            case 5:
                spoiled[place:end] = rng.choice(WORDS)
            case _:
                numbers = list(re.finditer(rb"\d+", bytes(spoiled)))
                if numbers:
                    chosen = rng.choice(numbers)
                    spoiled[chosen.start() : chosen.end()] = rng.choice(WORDS)
    return bytes(spoiled)
