"""Numbers that single precision cannot hold are never shown as certain."""

import dataclasses
from contextlib import contextmanager
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, make_case

from avi import gap
from avi.evidence.exact import Exact
from avi.evidence.none import NoEvidence
from avi.families.gaussian import DiagonalGaussian
from avi.gap import evidence
from avi.models.linear_gaussian import LinearGaussian
from avi.objectives.elbo import Pathwise
from avi.population import Points
from avi.problem import Problem
from avi.types import Estimate, Splits

FEW = dataclasses.replace(SETTINGS, num_points=6, splits=("test",), budget=3000, num_draws=100)


@dataclasses.dataclass(frozen=True)
class Shifted(LinearGaussian):
    """The same posterior, of a density that is off by a constant."""

    constant: float = 0.0

    def log_likelihood(self, theta, x, z):
        return super().log_likelihood(theta, x, z) + self.constant


def reported(case, model, evidence):
    problem = Problem(
        model, case.experiment.problem.family, case.experiment.problem.inference, Pathwise(1, False)
    )
    experiment = dataclasses.replace(case.experiment, problem=problem, evidence=evidence)
    return gap.report(experiment, case.params, case.splits, settings=FEW, run=None)


@pytest.mark.parametrize(("constant", "holds"), [(0.0, True), (-1e6, False), (3e5, False)])
def test_a_constant_in_the_density_is_not_taken_for_a_gap(constant, holds):
    """At 1e6 nats the next number is 0.06 away: no gap of 0.01 can be told."""
    case = make_case(DiagonalGaussian(LATENT))
    model = Shifted(LATENT, "diagonal", 1e-3, constant)
    summary = reported(case, model, NoEvidence())
    assert summary.validity.precision_ok is holds
    one = summary.splits["test"]
    assert ("precision" in {end.ending for end in one.endings}) <= (not holds)
    if constant == -1e6:
        assert one.converged == 0


def test_noise_of_a_thousandth_under_data_far_off_is_not_green():
    """x of a thousand and a scale of 0.001: a residual keeps two digits of seven."""
    case = make_case(DiagonalGaussian(LATENT))
    theta = case.params.theta | {"log_scale": jnp.full(6, np.log(1e-3)), "mean": jnp.full(6, 1e3)}
    model = LinearGaussian(LATENT, "diagonal", 1e-3)
    rows = np.asarray(case.splits.test @ np.zeros((6, 6)) + 1e3, np.float32)
    off = case._replace(
        params=case.params._replace(theta=theta), splits=Splits(rows, rows[:5], rows)
    )
    summary = reported(off, model, NoEvidence())
    assert summary.validity.precision_ok is False or summary.splits["test"].converged == 0


@pytest.mark.parametrize("value", [-3.0, -1e6])
def test_exact_evidence_that_stays_in_single_precision_knows_its_rounding(monkeypatch, value):
    @contextmanager
    def refused(*_):
        raise TypeError("a model with arrays of single precision in its code")
        yield

    found = Estimate(*(np.full(2, each) for each in (value, 0.0, np.nan, np.nan, np.nan)))
    compiled = SimpleNamespace(evidence_of=lambda _: lambda *_: found)
    monkeypatch.setattr(evidence, "in_double", refused)
    context = SimpleNamespace(compiled=compiled)
    estimate = evidence._of_rows(context, Exact(), Points(None, None), None)
    rounding = np.spacing(np.float32(abs(value)))
    assert (rounding <= estimate.standard_error).all()
    assert (estimate.standard_error > 0.01).all() == (value == -1e6)
