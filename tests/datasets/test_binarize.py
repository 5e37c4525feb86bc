"""Bits are drawn with the right probability, and the same ones wherever they are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.datasets.base import Recorded
from avi.datasets.binarize import RECORDED, draw, draw_rows, level_of, pixels, threefry
from avi.datasets.digits import Digits
from avi.datasets.mnist import Mnist

# The authors' known answers: key, counter, hash (Random123, kat_vectors, threefry2x32 20).
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN)
@pytest.mark.parametrize("module", [np, jnp])
def test_the_hash_gives_its_authors_known_answers(module, key, counter, expected):
    def words(pair):
        return tuple(module.asarray([word], dtype=module.uint32) for word in pair)

    found = threefry(words(key), words(counter))
    assert tuple(int(word[0]) for word in found) == expected


@pytest.mark.parametrize(("size", "seed"), [(1, 0), (6, 1), (7, 2**32), (784, 2**40 + 3)])
def test_a_draw_on_the_host_is_the_draw_on_the_device(size, seed):
    level = np.random.default_rng(0).integers(0, 2**16, (5, size), dtype=np.uint32)
    ids = np.asarray([0, 1, 2, 70_000, 2**31 - 1])
    on_host = draw_rows(level, seed, ids)
    one_by_one = [draw(jnp.asarray(row), seed, jnp.int32(index), RECORDED)
                  for row, index in zip(level, ids, strict=True)]  # fmt: skip
    together = jax.jit(jax.vmap(lambda row, index: draw(row, seed, index, jnp.int32(RECORDED))))
    np.testing.assert_array_equal(on_host, np.asarray(one_by_one))
    np.testing.assert_array_equal(on_host, together(level, ids.astype(np.int32)))


@pytest.mark.parametrize("white", [1, 16, 255])
def test_the_probability_of_a_pixel_is_its_value_to_2_to_the_minus_17(white):
    grey = np.arange(white + 1, dtype=np.uint8)
    level = level_of(grey, white)
    # A pixel is 1 if a 16-bit number is below its level: `level` of the 2^16 numbers are.
    assert np.abs(level / 2**16 - grey / white).max() <= 2**-17
    assert level[0] == 0
    assert level[-1] == 2**16
    np.testing.assert_array_equal(level, level_of(jnp.asarray(grey), white))
    # As numbers with a point they are rounded to float32 first, which moves k + 1/2 either way.
    for dtype in (np.float32, np.float64):
        assert np.abs(level_of(grey.astype(dtype), white).astype(int) - level).max() <= 1


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
def test_ones_come_as_often_as_the_grey_value_says(value):
    rows = np.full((4000, 250), value, np.uint8)
    bits = pixels("fixed", 255, seed=3).store(rows, np.arange(len(rows)))
    probability = level_of(rows[0, :1], 255)[0] / 2**16
    spread = np.sqrt(probability * (1 - probability) / rows.size)
    # |z| < 5.2 fails by chance once in 5e6 tests; it sees a bias of 0.3 % of the range.
    assert abs(bits.mean() - probability) <= 5.2 * spread


def test_the_four_thresholds_of_a_hash_are_uniform_and_independent():
    half = np.full((20_000, 64), 2**15, np.uint32)
    bits = draw_rows(half, 5, np.arange(20_000)).astype(float) * 2 - 1
    # Every pair of pixels, neighbours in a hash or not: correlations are sums of 20000 signs.
    correlations = bits.T @ bits / np.sqrt(20_000)
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 6.5  # 2016 pairs, each beyond 6.5 with probability 8e-11
    assert abs(bits.sum()) / np.sqrt(bits.size) < 5.2


def test_another_row_visit_or_seed_is_another_draw():
    half = jnp.full(4096, 2**15, jnp.uint32)
    first = draw(half, 0, 1, 2)
    others = [(0, 1, 3), (0, 2, 2), (0, 2, 1), (0, 1, RECORDED), (1, 1, 2), (2**32, 1, 2)]
    for seed, index, visit in others:
        other = draw(half, seed, index, visit)
        assert abs(float(jnp.mean(first == other)) - 0.5) < 5.2 * 0.5 / 64
    np.testing.assert_array_equal(first, draw(half, 0, 1, 2))


def test_the_recorded_draw_is_none_that_training_sees():
    half = jnp.full(64, 2**15, jnp.uint32)
    recorded = draw(half, 0, 7, RECORDED)
    draws = jax.vmap(lambda visit: draw(half, 0, 7, visit))(jnp.arange(1000))
    assert not (draws == recorded).all(axis=1).any()


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_white_is_always_one_and_black_always_zero(binarize):
    rows = np.tile(np.asarray([[0, 255]], np.uint8), (500, 300))
    dealer = pixels(binarize, 255, seed=0)
    stored = dealer.store(rows, np.arange(len(rows)))
    for visit in (RECORDED, 0, 1):
        x = jax.vmap(dealer.view, (0, 0, None))(stored, np.arange(500), visit)
        np.testing.assert_array_equal(x, rows / 255)


def test_threshold_and_grey_are_what_they_say():
    rows = np.asarray([[0, 127, 128, 255]], np.uint8)
    cut = pixels("threshold", 255, seed=0)
    assert cut.store(rows, np.arange(len(rows))).tolist() == [[0, 0, 1, 1]]
    grey = pixels("none", 255, seed=0)
    np.testing.assert_allclose(
        grey.view(grey.store(rows, np.arange(len(rows)))[0], 0, 0), rows[0] / 255, rtol=1e-7
    )  # one rounding of float32
    assert cut.support == "binary"
    assert grey.support == "unit"


def test_x_has_the_precision_of_the_run():
    stored = np.asarray([0, 255], np.uint8)
    for binarize in ("fixed", "dynamic", "threshold", "none"):
        view = pixels(binarize, 255, seed=0).view
        assert view(stored, 0, 0).dtype == jnp.float32
        with jax.enable_x64(True):
            assert view(stored, 0, 0).dtype == jnp.float64


def test_the_report_of_dynamic_data_scores_the_bits_of_the_fixed_ones():
    check_reports_agree(Digits("fixed", 5, 180, 180, 0), Digits("dynamic", 5, 180, 180, 0))


def test_the_report_of_dynamic_mnist_scores_the_bits_of_the_fixed_one(public):
    public("mnist/train-images-idx3-ubyte.gz")
    check_reports_agree(Mnist("fixed", 5), Mnist("dynamic", 5))


def check_reports_agree(fixed, dynamic):
    assert dynamic.redraws
    assert fixed.fixed() is fixed
    recorded = dynamic.fixed()
    assert isinstance(recorded, Recorded)
    assert not recorded.redraws
    assert recorded.fixed() is recorded
    assert (recorded.support, recorded.image_shape) == (fixed.support, fixed.image_shape)
    bits, grey = fixed.load(), dynamic.load()
    view = jax.jit(jax.vmap(recorded.view, (0, 0, None)))
    first = 0  # row ids count through the splits
    for split in ("train", "valid", "test"):
        expected = getattr(bits, split)
        rows = np.linspace(0, len(expected) - 1, 180).astype(np.int32)
        for visit in (0, 11):
            seen = view(getattr(grey, split)[rows], first + rows, visit)
            np.testing.assert_array_equal(seen, expected[rows])
        first += len(expected)


def test_a_seed_that_is_no_64_bit_word_is_refused():
    with pytest.raises(ValueError, match="binarize_seed must be 0 or more"):
        Digits("fixed", -1, 180, 180, 0)
