"""Simulated data have the moments of the truth they record."""

import numpy as np
import pytest

from avi.datasets.base import describe
from avi.datasets.linear_gaussian import LinearGaussian

DATA = LinearGaussian(40_000, 100, 100, size=5, latent_size=2, noise=0.3, seed=4)


def test_rows_have_the_mean_and_covariance_of_the_truth():
    truth, rows = DATA.truth, DATA.load().train.astype(float)
    covariance = truth.loadings @ truth.loadings.T + np.diag(truth.variances)
    # Whitened by the truth, the sample mean has entries N(0, 1/N) and the sample covariance entries
    # of standard deviation at most sqrt(2/N) around the identity: 20 numbers at 6.5 sigma, 2e-9.
    white = np.linalg.solve(np.linalg.cholesky(covariance), (rows - truth.mean).T)
    assert np.abs(white.mean(1)).max() < 6.5 / np.sqrt(40_000)
    assert np.abs(white @ white.T / 40_000 - np.eye(5)).max() < 6.5 * np.sqrt(2 / 40_000)


def test_the_seed_records_everything():
    again = LinearGaussian(40_000, 100, 100, size=5, latent_size=2, noise=0.3, seed=4)
    np.testing.assert_array_equal(again.load().test, DATA.load().test)
    np.testing.assert_array_equal(again.truth.loadings, DATA.truth.loadings)
    other = LinearGaussian(40_000, 100, 100, size=5, latent_size=2, noise=0.3, seed=5)
    assert not (other.load().test == DATA.load().test).any()


def test_the_splits_have_their_sizes_and_the_description_their_mean():
    splits = DATA.load()
    assert [len(split) for split in splits[:3]] == [40_000, 100, 100]
    spec = describe(DATA, splits)
    assert spec.support == "real"
    np.testing.assert_allclose(spec.mean, splits.train.mean(0, np.float64), rtol=1e-6)


@pytest.mark.parametrize(
    "change", [{"num_train": 0}, {"size": 0}, {"latent_size": 0}, {"noise": 0.0}]
)
def test_sizes_and_noise_must_be_positive(change):
    settings = {"num_train": 1, "num_valid": 1, "num_test": 1, "size": 1, "latent_size": 1,
                "noise": 1.0, "seed": 0}  # fmt: skip
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
        LinearGaussian(**settings | change)
