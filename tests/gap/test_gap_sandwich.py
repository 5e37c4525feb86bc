"""A whole report with annealed evidence and simulated data, on a model whose log p(x) is exact."""

import jax
import numpy as np
import pytest

from avi import gap
from avi.config.compose import compose
from avi.gap.sandwich import _widest
from avi.results.gap import SandwichStep
from avi.run.session import open_session

NUM = 40
WORDS = (
    "model=linear_gaussian dataset=linear_gaussian inference=free_form evidence=ais "
    f"gap.splits=[test] gap.num_points={NUM} gap.simulated={NUM} gap.seconds=null gap.audit=0 "
    "gap.num_draws=100 precision=float64 evidence.num_chains=8 evidence.num_temperatures=1"
).split()


@pytest.fixture(scope="module", params=["both", "prior"])
def reported(request):
    """Return the start of the path, the exact evidence per row, and the summary."""
    session = open_session(compose([*WORDS, f"evidence.start={request.param}"])[0].tree)
    experiment, params = session.experiment, session.initial_state().params
    # W of 0.4: the posterior is not the prior.
    theta = params.theta | {"weight": 4 * params.theta["weight"]}
    params = params._replace(theta=theta)
    model, points = experiment.problem.model, session.points("test", NUM)
    exact = jax.vmap(lambda x: model.log_evidence(theta, x))(points.rows)
    settings = experiment.gap
    summary = gap.report(experiment, params, session.splits, settings=settings, run=None)
    return request.param, np.asarray(exact), summary


def test_the_evidence_of_real_rows_is_exact_within_its_own_error_and_the_width(reported):
    _, exact, summary = reported
    found, sandwich = summary.splits["test"].evidence, summary.sandwich
    assert found.kind == "lower"
    # Five standard errors: fails by chance once in a million.
    assert found.mean - exact.mean() < 5 * found.se_mc
    assert exact.mean() - found.mean < 5 * found.se_mc + sandwich.width_interval[1]


def test_the_two_bounds_are_the_right_way_round_and_temperatures_double_until_they_agree(reported):
    start, _, summary = reported
    sandwich = summary.sandwich
    steps = [one.num_temperatures for one in sandwich.history]
    assert steps == [2**number for number in range(len(steps))]
    assert sandwich.ok is sandwich.transfers
    # Rows of other parameters than the model now has: their bounds are not such as it draws.
    assert sandwich.transfers is (sandwich.inside >= 0.9)
    assert sandwich.n == NUM
    assert abs(sandwich.width) < 0.2
    if start == "prior":  # one step from there is plain importance sampling: far too wide
        first = sandwich.history[0]
        assert len(steps) > 1
        assert first.width > 3 * first.width_se
        assert first.width > sandwich.width


@pytest.mark.parametrize(
    ("interval", "widest"), [((0.05, 0.19), 0.19), ((0.05, 0.3), 0.3), (None, 0.18)]
)
def test_a_sandwich_is_as_wide_as_the_end_of_its_interval(interval, widest):
    step = SandwichStep(100, 0.1, 0.04, interval, 1.0, 0.0)
    assert _widest(step) == pytest.approx(widest)
