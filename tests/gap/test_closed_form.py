"""Evidence that a model states in closed form is held against numbers that do not ask for it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gap.adversaries import AsTheyAre
from gap.gaussian_case import SETTINGS, make_case

from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.gap.context import Clock, Context
from avi.gap.ledger import Ledger, LedgerFiles
from avi.gap.measure import measure
from avi.objectives.elbo import Elbo
from avi.problem import Problem, fit
from avi.types import Latent, Params, Splits


@dataclasses.dataclass(frozen=True)
class TwoHills:
    """x ~ N(z, 9 I), z around (3, .., 3) or (-3, .., -3): at x = 0 the posterior has two modes."""

    size: int
    wrong: float = 0.0  # nats that log_evidence is too high
    support = "real"

    @property
    def latent(self):
        return Latent("real", self.size)

    def init(self, key, data):
        return {"unused": jnp.zeros(())}

    def log_prior(self, theta):
        return jnp.zeros(())

    def log_joint(self, theta, x, z):
        return hills(z, 1.0) + jax.scipy.stats.norm.logpdf(x, z, 3.0).sum()

    def log_evidence(self, theta, x):
        return hills(x, 10**0.5) + self.wrong

    def sample(self, theta, key, like):
        hill, around, noise = jax.random.split(key, 3)
        z = jax.random.rademacher(hill, ()) * 3.0 + jax.random.normal(around, (self.size,))
        return z, z + 3 * jax.random.normal(noise, (self.size,))


def hills(z, scale):
    """Return the log density of half N(3, scale^2 I) and half N(-3, scale^2 I)."""
    each = [jax.scipy.stats.norm.logpdf(z, place, scale).sum() for place in (-3.0, 3.0)]
    return jnp.logaddexp(*each) - jnp.log(2.0)


def verdict(experiment, params, splits):
    """Return closed_form_ok of a report on twelve rows."""
    context = Context(
        experiment,
        params,
        splits,
        dataclasses.replace(SETTINGS, num_points=12, splits=("train",)),
        Ledger(LedgerFiles(None, ""), experiment.problem.family.num_params),
        lambda what, share: None,
        Clock(None),
    )
    return measure(context).summary.validity.closed_form_ok


@pytest.mark.parametrize(("wrong", "ok"), [(0.0, True), (0.1, False), (-0.1, False)])
def test_a_closed_form_that_is_wrong_is_not_green(wrong, ok):
    """q holds the posterior, and its weights are all the evidence."""
    case = make_case(FullRankGaussian(3))
    model = case.experiment.problem.model

    class Wrong(type(model)):
        def log_evidence(self, theta, x):
            return super().log_evidence(theta, x) + wrong

    problem = dataclasses.replace(case.experiment.problem, model=Wrong(**vars(model)))
    experiment = dataclasses.replace(case.experiment, problem=problem)
    assert verdict(experiment, case.params, case.splits) is ok


@pytest.mark.parametrize(("wrong", "ok"), [(0.0, True), (0.5, False)])
def test_a_mode_that_q_misses_is_no_contradiction_where_quadrature_can_tell(wrong, ok):
    """Weights of q lack log 2 of the evidence around x = 0, and their tail is light."""
    model, family = TwoHills(2, wrong), DiagonalGaussian(2)
    experiment = make_case(DiagonalGaussian(3)).experiment
    inference = experiment.problem.inference
    objective = fit(Elbo(1, antithetic=False), model, family)
    problem = Problem(model, family, inference, objective)
    experiment = dataclasses.replace(experiment, problem=problem, dataset=AsTheyAre())
    rows = np.random.default_rng(0).normal(0, 0.3, (12, 2)).astype(np.float32)
    phi = inference.init(jax.random.key(2), family, jnp.zeros(2), 12)
    params = Params(model.init(None, None), phi)
    assert verdict(experiment, params, Splits(rows, rows[:1], rows[:1])) is ok
