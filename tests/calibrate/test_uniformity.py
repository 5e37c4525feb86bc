"""The test of uniform ranks holds its rate exactly: by enumeration, and by the binomial."""

import itertools

import numpy as np
import pytest

from avi.calibrate.uniformity import Uniformity


def _every(number, draws):
    return [np.array(ranks) for ranks in itertools.product(range(draws + 1), repeat=number)]


@pytest.mark.parametrize(("number", "draws"), [(3, 2), (4, 3), (6, 1), (2, 6)])
def test_a_p_value_is_the_share_of_all_outcomes_that_look_as_uneven(number, draws):
    """All (L + 1)^N outcomes are equally likely: that share is counted."""
    test = Uniformity(number, draws)
    found = np.array([test.p_value(ranks) for ranks in _every(number, draws)])
    counted = [(found <= p * (1 + 1e-9)).mean() for p in found]
    np.testing.assert_allclose(found, counted, rtol=1e-10)  # rounding of a convolution


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.7])
def test_ranks_leave_the_band_where_their_p_value_is_below_its_rate(rate):
    test = Uniformity(5, 3)
    band = test.band(rate)
    leaving = []
    for ranks in _every(5, 3):
        reached = np.bincount(ranks, minlength=4).cumsum()[:3]
        leaves = bool(np.any((reached < band.low) | (reached > band.high)))
        assert leaves == (test.p_value(ranks) <= rate)
        leaving.append(leaves)
    np.testing.assert_allclose(band.failure_rate, np.mean(leaving), rtol=1e-10)
    assert band.failure_rate <= rate


def test_the_band_of_many_ranks_is_left_as_often_as_it_says():
    """4000 sets of uniform ranks, z-score of the number that leave: failure rate 2e-6."""
    test, sets = Uniformity(200, 99), 4000
    band = test.band(0.05)
    ranks = np.random.default_rng(0).integers(0, 100, (sets, 200)) + 100 * np.arange(sets)[:, None]
    counts = np.bincount(ranks.ravel(), minlength=100 * sets).reshape(sets, 100)
    reached = counts.cumsum(axis=1)[:, :99]
    left = np.any((reached < band.low) | (reached > band.high), axis=1).sum()
    rate = band.failure_rate
    assert abs(left - sets * rate) < 4.75 * np.sqrt(sets * rate * (1 - rate))
    assert 0.045 < rate <= 0.05  # counts are whole: no band has every rate


def test_ranks_of_one_value_have_no_chance():
    assert Uniformity(200, 99).p_value(np.zeros(200, int)) < 1e-12
