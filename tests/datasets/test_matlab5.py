"""MATLAB's arrays are those that scipy writes; what is damaged is refused, and nothing crashes."""

import io
import zlib

import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from avi.datasets.formats import data_errors
from avi.datasets.matlab5 import arrays_of
from avi.errors import DataError

BYTES = np.arange(6, dtype=np.uint8).reshape(2, 3)
ROWS = np.random.default_rng(0).normal(size=(20, 3))
COUNTS = scipy.sparse.csc_matrix(np.random.default_rng(1).poisson(0.5, (6, 4)).astype(float))


def matlab(packed=False, **arrays):
    content = io.BytesIO()
    savemat(content, arrays, do_compression=packed)
    return content.getvalue()


def values(content, name="ff", limit=1000):
    """Return an array, or raise DataError."""
    with data_errors("x"):
        return arrays_of(content)[name].values(limit)


MATLAB = matlab(ff=BYTES)
KINDS = [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64, bool]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_every_type_are_read_packed_or_not(kind, packed):
    rows = (10 * ROWS).astype(kind)
    found = values(matlab(packed, a=1.0, a_long_name=rows, z="text", c={"d": 1}), "a_long_name")
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sparse", [COUNTS, COUNTS > 0, scipy.sparse.csc_matrix((3, 2))])
def test_a_sparse_array_is_filled_in(sparse, packed):
    np.testing.assert_array_equal(values(matlab(packed, ff=sparse)), sparse.toarray())


def test_what_holds_no_real_numbers_is_not_named():
    content = matlab(text="t", complex=ROWS * 1j, cell=np.array([1, "a"], object), x=ROWS[None])
    arrays = arrays_of(content)
    assert list(arrays) == ["x"]
    assert arrays["x"].shape == (1, 20, 3)
    np.testing.assert_array_equal(arrays["x"].values(1000), ROWS[None])


BOMB = zlib.compress(bytes(2**26))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        MATLAB[:128],
        MATLAB[:-3],  # two bytes of padding and one of the matrix
        MATLAB.replace(b"IM", b"MI", 1),
        matlab(gg=BYTES),
        matlab(ff="text"),
        matlab(ff=np.zeros((200, 3))),  # beyond the limit
        MATLAB[:128] + (15).to_bytes(4, "little") + (9).to_bytes(4, "little") + b"not zlib!",
        MATLAB[:128] + (15).to_bytes(4, "little") + len(BOMB).to_bytes(4, "little") + BOMB,
        MATLAB[:128] + b"\xff" * 64,
    ],
)
def test_any_other_file_is_refused(content):
    with pytest.raises(DataError):
        values(content)


@pytest.mark.parametrize("place", ["indices", "indptr"])
def test_a_sparse_array_that_points_outside_itself_is_refused(place):
    stored = getattr(COUNTS, place).astype("<i4")
    broken = stored.copy()
    broken[-1] = 10**6
    content = matlab(ff=COUNTS)
    assert content.count(stored.tobytes()) == 1
    with pytest.raises(DataError, match="its sparse array"):
        values(content.replace(stored.tobytes(), broken.tobytes()))


@pytest.mark.parametrize("content", [MATLAB, matlab(ff=COUNTS)], ids=["dense", "sparse"])
def test_every_flipped_bit_is_survived(content):
    rng = np.random.default_rng(0)
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        try:
            found = values(bytes(flipped))
        except DataError:
            continue
        assert found.size <= 125  # the limit
