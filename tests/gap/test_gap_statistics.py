"""Intervals and the rule that a gap is not negative."""

from types import SimpleNamespace

import numpy as np
import pytest

from avi.gap.doubling import level
from avi.gap.statistics import (
    bootstrap_t,
    carried_by_few,
    khat_limit,
    lower_limit,
    mean_of,
    significantly_negative,
)


def test_an_interval_needs_thirty_points():
    values = np.random.default_rng(0).exponential(size=29)
    assert mean_of(values, np.zeros(29), 1000, 0).interval is None
    assert mean_of(np.append(values, 1.0), np.zeros(30), 1000, 0).interval is not None


def test_the_whole_split_leaves_only_monte_carlo_noise():
    values, noise = np.arange(50.0), np.full(50, 0.1)
    mean = mean_of(values, noise, 50, 0)
    np.testing.assert_allclose(mean.se_split, mean.se_mc)
    np.testing.assert_allclose(mean.se_mc, 0.1 / np.sqrt(50))
    np.testing.assert_allclose(mean.se, values.std(ddof=1) / np.sqrt(50))
    part = mean_of(values, noise, 100, 0)
    assert mean.se_split < part.se_split < part.se


def test_bootstrap_t_leans_to_the_side_of_the_skew():
    values = np.random.default_rng(1).exponential(size=100)
    low, high = bootstrap_t(values, 0)
    assert low < values.mean() < high
    assert high - values.mean() > values.mean() - low
    assert bootstrap_t(values, 0) == (low, high)  # a function of values and seed
    assert bootstrap_t(np.full(40, 2.0), 0) == (2.0, 2.0)


def test_bootstrap_t_covers_the_mean_of_skewed_gaps():
    """Exponential gaps, n = 100: methods measured .938; 400 replications, false alarm 1e-5."""
    generator = np.random.default_rng(2)
    covered = 0
    for seed in range(400):
        low, high = bootstrap_t(generator.exponential(size=100), seed)
        covered += low <= 1.0 <= high
    assert 0.88 < covered / 400 < 0.985


def test_the_guaranteed_limit_is_one_sided():
    values = np.random.default_rng(3).normal(1.0, 1.0, 400)
    mean = mean_of(values, np.zeros(400), 10**6, 0)
    # The 95 % quantile of Student's t with 399 degrees of freedom.
    np.testing.assert_allclose(lower_limit(mean, 400), mean.mean - 1.64868 * mean.se, rtol=1e-5)


def test_nothing_is_guaranteed_from_fewer_than_thirty_points():
    values = np.random.default_rng(3).normal(1.0, 1.0, 30)
    assert np.isnan(lower_limit(mean_of(values[:29], np.zeros(29), 10**6, 0), 29))
    assert np.isfinite(lower_limit(mean_of(values, np.zeros(30), 10**6, 0), 30))


@pytest.mark.parametrize(
    ("values", "noise", "expected"),
    [
        (np.full(100, 0.5), 0.1, False),
        (np.full(100, -0.5), 0.1, True),  # the mean, 50 standard errors below
        (np.append(np.full(99, 0.5), -0.9), 0.1, True),  # one point, 9 standard errors below
        (np.append(np.full(99, 0.5), -0.35), 0.1, False),  # 3.5 once in a hundred is chance
        (np.full(100, -1e-7), 0.0, False),  # rounding
    ],
)
def test_negative_gaps_are_an_error_only_beyond_noise(values, noise, expected):
    assert significantly_negative(values, np.full(100, noise), rounding=1e-5) is expected


def test_the_limit_of_khat_grows_with_the_draws():
    np.testing.assert_allclose(khat_limit(100), 0.5)
    assert khat_limit(5000) == 0.7


def test_an_interval_that_a_few_points_carry_is_withheld():
    generator = np.random.default_rng(4)
    mild = generator.exponential(size=100)
    assert not carried_by_few(mild)
    rare = 0.5 * mild
    rare[7] += 50
    assert carried_by_few(rare)
    assert mean_of(rare, np.zeros(100), 1000, 0, gaps=True).interval is None
    assert mean_of(rare, np.zeros(100), 1000, 0).interval is not None  # of what is no gap
    assert carried_by_few(generator.pareto(0.8, size=200))  # a tail without a mean
    assert not carried_by_few(np.full(50, 0.3))


@pytest.mark.parametrize(
    ("name", "draw", "mean"),
    [
        ("mild", lambda g: g.gamma(4.0, 0.25, 100), 1.0),
        ("skewed", lambda g: g.lognormal(0.0, 0.8, 100), np.exp(0.32)),
        ("rare", lambda g: 0.5 * g.exponential(size=100) + 5.0 * (g.random(100) < 0.1), 1.0),
    ],
)
def test_intervals_cover_three_populations_or_are_withheld(name, draw, mean):
    """Of those given, 90 to 99 % cover: a binomial of .95 over 150 is outside once in 200."""
    generator = np.random.default_rng(6)
    given = covered = 0
    for seed in range(200):
        values = draw(generator)
        if not carried_by_few(values):
            low, high = bootstrap_t(values, seed)
            given, covered = given + 1, covered + (low <= mean <= high)
    print(f"{name}: {covered} of {given} covered, {200 - given} withheld")
    assert given > 100
    assert 0.90 < covered / given < 0.995


def test_a_report_that_may_look_often_asks_for_wider_intervals():
    settings = SimpleNamespace(half_width=0.1, splits=("test",))
    context = SimpleNamespace(settings=settings, sizes={"test": 800})
    assert level(context) == pytest.approx(1 - 0.05 / 4)  # at 100, 200, 400 and 800 rows
    settings.half_width = None
    assert level(context) == 0.95
