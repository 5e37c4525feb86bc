"""Rows from elsewhere beside a run's own: each as it is, and the share of pairs told apart."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, SIZE, make_case
from scipy.stats import norm

from avi.evidence.none import NoEvidence
from avi.families.gaussian import DiagonalGaussian
from avi.gap.against import auroc, others, scores
from avi.population import Points


def test_the_share_of_pairs_is_the_one_that_counting_finds():
    generator = np.random.default_rng(0)
    own, other = generator.integers(0, 8, 40), generator.integers(2, 10, 30)
    share, interval = auroc(own, other)
    pairs = np.sign(other[:, None] - own[None, :])
    np.testing.assert_allclose(share, np.mean(0.5 + 0.5 * pairs))
    assert interval[0] < share < interval[1]


def test_the_interval_covers_the_share_of_two_gaussians():
    """P(other > own) = Phi(1 / sqrt 2) at a shift of 1: 1000 intervals, 95 % with z below 4.75."""
    generator, number = np.random.default_rng(1), 1000
    share = norm.cdf(1 / np.sqrt(2))
    covered = 0
    for _ in range(number):
        own, other = generator.normal(0, 1, 40), generator.normal(1, 1, 30)
        low, high = auroc(own, other)[1]
        covered += low <= share <= high
    assert covered / number > 0.95 - 4.75 * np.sqrt(0.95 * 0.05 / number)
    assert covered < number


@pytest.mark.parametrize(("shift", "share"), [(100, 1.0), (-100, 0.0)])
def test_sides_that_do_not_meet_have_an_interval_all_the_same(shift, share):
    found, (low, high) = auroc(np.arange(50.0), np.arange(50.0) + shift)
    assert found == share
    assert 0.01 < high - low < 0.1
    assert share in (low, high)


def test_nothing_is_said_without_rows():
    assert auroc(np.zeros(0), np.zeros(3))[1] is None


def test_other_rows_are_measured_as_the_runs_own_and_counted_from_their_file():
    """The best ELBO of each in closed form; rows far away are told by their bound."""
    case = make_case(DiagonalGaussian(LATENT), evidence=NoEvidence())
    rows = 3.0 + np.asarray(jax.random.normal(jax.random.key(5), (6, SIZE)), np.float32)
    settings = dataclasses.replace(SETTINGS, num_draws=2000, width=6)
    found = others(
        case.experiment,
        case.params,
        case.splits,
        Points(rows, len(case.splits.train) + np.arange(6)),
        view=lambda row, number, visit: row,
        settings=settings,
        on_progress=lambda what, share: None,
    )
    model, theta = case.experiment.problem.model, case.params.theta
    assert [row.row for row in found] == list(range(6))
    for row, x in zip(found, rows, strict=True):
        _, precision = model.posterior(theta, x)
        lost = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
        best = float(model.log_evidence(theta, x)) - lost
        assert row.converged
        assert abs(row.bound_star - best) < settings.tolerance + 4.75 * row.bound_star_se
        assert row.regret > -settings.tolerance
    own = [SimpleNamespace(bound=-3.0, bound_star=-3.0, amortization_gap=0.0, flags="")] * 2
    told = {one.name: one.auroc for one in scores(own, found)}
    assert told["-ELBO at λ*"] == 1.0
