"""Tests of means with a stated rate of false alarms."""

import numpy as np
from scipy.stats import norm

FALSE_ALARM = 2e-6  # of one call; some 400 calls in the suite keep its own rate below 1e-3


def assert_mean_is(samples, expected, smallest_detectable=None):
    """Fail if the mean of `samples` [n, ...] is not `expected`, by the largest z over coordinates.

    The threshold is Bonferroni's for a false alarm rate of 2e-6. `smallest_detectable`, if given,
    is the size of a bias that the test must be able to see: with n draws it would be found with
    probability 0.999.
    """
    samples = np.asarray(samples, np.float64)
    samples = samples.reshape(len(samples), -1)
    expected = np.broadcast_to(np.asarray(expected, np.float64).ravel(), samples.shape[1:])
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    threshold = norm.isf(FALSE_ALARM / 2 / samples.shape[1])
    difference = samples.mean(axis=0) - expected
    rounding = 1e-10 * (1 + np.abs(expected))
    z = difference / np.maximum(error, rounding)
    if smallest_detectable is not None:
        needed = (threshold + norm.isf(1e-3)) * error
        assert np.all(needed <= smallest_detectable), f"too few draws: could only see {needed}"
    assert np.max(np.abs(z)) < threshold, f"z = {np.max(np.abs(z)):.2f}, limit {threshold:.2f}"
