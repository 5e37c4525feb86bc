"""A few rows of models that try to fool the report; scripts/referee takes all, and many rows."""

import jax
import numpy as np
import pytest
from gap.adversaries import ADVERSARIES, referee, truth

from avi.families.gaussian import DiagonalGaussian
from avi.gap.starts import second_start
from avi.types import Target

QUICK = (
    "smooth",
    "even",
    "even-narrow",
    "waves",
    "boundary",
    "constant",
    "hills-apart",
    "regimes",
    "needles",
    "steep",
)  # to compile


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_no_row_is_certified_or_its_evidence_called_good_while_it_is_wrong(name):
    verdict = referee(name, 8)
    assert not verdict.fooled, str(verdict)
    if name == "smooth":  # where nothing is in the way
        assert verdict.certified == verdict.rows
    if name == "constant":  # a million nats leave single precision no digit of a gap
        assert verdict.certified == 0
        assert "precision_ok" in verdict.flags
    if name == "steep":  # no draw of q sees what its mean is made of
        assert "tails_ok" in verdict.flags
    if name == "needles":  # too many to be found without being told
        assert "modes_ok" in verdict.flags


def test_the_truth_is_that_of_closed_forms():
    """x ~ N(z, s^2): log N(x; 0, 1 + s^2), and the family holds the posterior."""
    for value in (0.3, -1.2):
        exact, best = truth("deterministic", np.array([value, value]))
        expected = -0.5 * value**2 / (1 + 1e-6) - 0.5 * np.log(2 * np.pi * (1 + 1e-6))
        np.testing.assert_allclose([exact, best], 2 * expected, atol=1e-5)


@pytest.mark.parametrize("name", ["far", "far-3"])
def test_a_second_opinion_begins_on_a_hill_that_no_draw_of_the_prior_reaches(name):
    """Only z > 4.1 explains x = 5, and draws of N(0, 1) are there twice in 10^5."""
    model = ADVERSARIES[name]
    target = Target(model, model.init(None, None), np.array(model.seldom, np.float32))
    lam = second_start(target, DiagonalGaussian(model.size), jax.random.key(0))
    assert np.all((lam[: model.size] > 4.0) == (np.array(model.seldom) == 5))
