"""Array files of others are read identically or refused: no code, no memory, no hang."""

import gzip
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from avi.datasets.formats import (
    byte_limit,
    data_errors,
    gunzip,
    load_array,
    parse_bits,
    parse_idx,
)
from avi.errors import DataError

ROWS = np.arange(12.0).reshape(4, 3)


def npy(array, **options):
    content = io.BytesIO()
    np.lib.format.write_array(content, array, **options)
    return content.getvalue()


def npy_with_header(text, data=b"", version=b"\x01\x00"):
    width = 2 if version[0] == 1 else 4
    return b"\x93NUMPY" + version + len(text).to_bytes(width, "little") + text.encode() + data


def npz(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return content.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        ROWS.astype(np.float32),
        ROWS.astype(">f8"),
        ROWS.astype(np.float16),
        ROWS.astype(np.uint8),
        ROWS.astype(">i4"),
        ROWS > 5,
        np.asfortranarray(ROWS),
        np.zeros((0, 3)),
        np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
        np.asarray(3.0),
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_numpy_writes_is_read_identically(tmp_path, array, version):
    (tmp_path / "rows.npy").write_bytes(npy(array, version=version))
    np.savez_compressed(tmp_path / "rows.npz", rows=array)
    for name in ("rows.npy", "rows.npz"):
        found = load_array(tmp_path / name, None)
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")


def test_one_of_several_arrays_is_named(tmp_path):
    np.savez(tmp_path / "rows.npz", first=ROWS, second=ROWS + 1)
    np.testing.assert_array_equal(load_array(tmp_path / "rows.npz", "second"), ROWS + 1)
    with pytest.raises(DataError, match="it holds first, second; name one with dataset.array"):
        load_array(tmp_path / "rows.npz", None)
    with pytest.raises(DataError, match="it holds first, second, but not 'third'"):
        load_array(tmp_path / "rows.npz", "third")


class Evil:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


OBJECTS = np.asarray([Evil()], dtype=object)
GOOD = npy(ROWS)
HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 3), }"
HOSTILE_NPY = {
    "empty": b"",
    "magic alone": b"\x93NUMPY",
    "no array": b"<html>",
    "pickle": pickle.dumps(Evil()),
    "objects": npy(OBJECTS, allow_pickle=True),
    "truncated": GOOD[:-1],
    "longer": GOOD + b"\0",
    "unknown version": b"\x93NUMPY\x09\x00" + GOOD[8:],
    "header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    "header missing": b"\x93NUMPY\x01\x00\x40\x00",
    "header no literal": npy_with_header("__import__('os').mkdir('pwned')"),
    "header nested": npy_with_header("(" * 9000),
    "header nested lists": npy_with_header("[" * 150 + "]" * 150),
    "header minus": npy_with_header("-" * 9000 + "1"),
    "header a list": npy_with_header("[1]"),
    "header with more keys": npy_with_header(HEADER[:-1] + " 'x': 1}", ROWS.tobytes()),
    "header unhashable": npy_with_header("{[]: 1}"),
    "shape of 36 TiB": npy_with_header(HEADER.replace("(4, 3)", "(2**42,)")),
    "shape immense": npy_with_header(HEADER.replace("(4, 3)", "(4503599627370496,)")),
    "shape overflowing": npy_with_header(HEADER.replace("(4, 3)", "(4294967296, 4294967296, 4)")),
    "shape negative": npy_with_header(HEADER.replace("(4, 3)", "(-4, -3)"), ROWS.tobytes()),
    "shape of truth values": npy_with_header(HEADER.replace("(4, 3)", "(True, 12)")),
    "shape a list": npy_with_header(HEADER.replace("(4, 3)", "[4, 3]"), ROWS.tobytes()),
    "shape of 33 axes": npy_with_header(HEADER.replace("(4, 3)", str((1,) * 33)), b"\0" * 8),
    "dtype of records": npy_with_header(HEADER.replace("'<f8'", "[('a', '<f8')]"), ROWS.tobytes()),
    "dtype of text": npy(np.asarray(["a", "b"])),
    "dtype of times": npy(np.zeros(3, "M8[s]")),
    "dtype complex": npy(np.zeros((3, 2), complex)),
    "dtype unknown": npy_with_header(HEADER.replace("<f8", "<f3"), ROWS.tobytes()),
    "dtype with a shape": npy_with_header(HEADER.replace("<f8", "(9999999,)f8")),
}


def claim_size(content, member_size):
    """Forge the uncompressed size in both headers of a one-member zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        true_size = archive.infolist()[0].file_size.to_bytes(4, "little")
    return content.replace(true_size, member_size.to_bytes(4, "little"))


def zip_bomb():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", GOOD + bytes(2**26))
    return content.getvalue()


def bad_checksum():
    content = bytearray(npz(a=GOOD))
    content[content.index(ROWS[1].tobytes())] ^= 1
    return bytes(content)


HOSTILE_NPZ = {f"npz of {name}": npz(a=content) for name, content in HOSTILE_NPY.items()} | {
    "npz empty": npz(),
    "npz truncated": npz(a=GOOD)[:-10],
    "npz without names": b"PK\x05\x06" + bytes(18),
    "npz of text": npz(a=b"hello"),
    "npz with a wrong checksum": bad_checksum(),
    "npz with a smaller claim": claim_size(npz(a=GOOD), len(GOOD) - 8),
    "npz with a larger claim": claim_size(npz(a=GOOD), 2**31),
    "npz bomb": zip_bomb(),
}


@pytest.mark.parametrize("name", [*HOSTILE_NPY, *HOSTILE_NPZ])
def test_a_hostile_array_file_is_refused_by_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ("file.npz" if name.startswith("npz") else "file.npy")
    path.write_bytes({**HOSTILE_NPY, **HOSTILE_NPZ}[name])
    with pytest.raises(DataError, match=r"file\.np[yz] cannot be read: .+"):
        load_array(path, None)
    assert not (tmp_path / "pwned").exists()


def test_a_sparse_giant_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "rows.npy"
    size = byte_limit() + 8
    header = npy_with_header(HEADER.replace("(4, 3)", f"({size // 8}, 1)"))
    path.write_bytes(header)
    os.truncate(path, len(header) + size // 8 * 8)
    with pytest.raises(DataError, match="more than a quarter of the memory"):
        load_array(path, None)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "rows.npy")
    for name in ("absent.npy", "rows.npy", "."):
        with pytest.raises(DataError, match="is not a file"):
            load_array(tmp_path / name, None)


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_no_truncation_and_no_flipped_bit_breaks_the_reader(tmp_path, kind):
    path = tmp_path / f"rows.{kind}"
    content = npz(a=GOOD) if kind == "npz" else GOOD
    rng = np.random.default_rng(0)
    same, refused = 0, 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        for mutant in (content[:place], bytes(flipped)):
            path.write_bytes(mutant)
            try:
                found = load_array(path, None)
            except DataError:
                refused += 1
                continue
            # An .npy has no checksum: changed numbers are other numbers, of the same form.
            same += np.array_equal(found, ROWS)
            if kind == "npz" and found.shape == ROWS.shape and found.dtype == ROWS.dtype:
                assert np.array_equal(found, ROWS)
    assert refused >= len(content)  # every truncation, at least
    if kind == "npz":
        assert same > 0  # e.g. a changed date of the archive


# --- IDX ------------------------------------------------------------------------------------------


def idx(shape, data, magic=b"\0\0\x08"):
    return magic + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + data


def test_idx_is_read_in_its_shape():
    found = parse_idx(idx((2, 3, 4), bytes(range(24))))
    np.testing.assert_array_equal(found, np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        idx((), b""),
        idx((3,), b"ab"),
        idx((3,), b"abcd"),
        idx((2**32 - 1,) * 3, b"abc"),
        idx((3,), b"abc", magic=b"\0\0\x0d"),
        idx((3,), b"abc", magic=b"\x1f\x8b\x08"),
        idx((1,) * 255, b"a"),
        b"\0\0\x08\x03\0\0",
    ],
)
def test_idx_with_a_lying_header_is_refused(content):
    with pytest.raises(DataError, match="x cannot be read: .+"), data_errors("x"):
        parse_idx(content)


def test_gzip_is_unpacked_within_its_bound():
    packed = gzip.compress(bytes(2**24))
    assert gunzip(packed, 2**24) == bytes(2**24)
    assert gunzip(b"plain", 5) == b"plain"
    for content, limit in (
        (packed, 2**24 - 1),
        (packed[:-9], 2**24),
        (b"\x1f\x8b junk", 9),
        (packed[:-6] + b"xxxxxx", 2**24),
    ):
        with pytest.raises(DataError), data_errors("x"):
            gunzip(content, limit)


# --- text of bits ----------------------------------------------------------------------


def test_bits_are_read_from_text():
    assert parse_bits(b"0 1 1\r\n1\t0  0 \n", 3).tolist() == [[0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("content", [b"", b"0 1", b"0 1 2", b"0 11", b"01\n", b"<html>", b"0,1,1"])
def test_text_that_is_not_bits_is_refused(content):
    with pytest.raises(ValueError, match="it (does not hold|holds)"):
        parse_bits(content, 3)


def test_the_fixture_of_evil_would_work_if_it_were_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.load(io.BytesIO(HOSTILE_NPY["objects"]), allow_pickle=True)
    assert Path("pwned").is_dir()
