"""A decoder without closed forms: two latents, where quadrature knows everything (methods O6)."""

import csv
import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gap.gaussian_case import SETTINGS, make_case
from scipy.optimize import minimize

from avi import gap
from avi.evidence.quadrature import Quadrature
from avi.families.gaussian import DiagonalGaussian
from avi.gap.flags import khat_ok, usable_evidence
from avi.likelihoods.bernoulli import Bernoulli
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.problem import Problem
from avi.types import DataSpec, Params, Splits

NODES = 24  # per dimension; 40 change the ELBO by less than 1e-6


@pytest.fixture(scope="module")
def tanh():
    """Return the case and the exact ELBO as a function of (x, lam)."""
    case = make_case(DiagonalGaussian(3))
    family, inference = DiagonalGaussian(2), case.experiment.problem.inference
    model = VAE(2, MLP((8,), "tanh", 3.0), Bernoulli())
    spec = DataSpec(jnp.zeros(10), jnp.full(10, 0.5), "binary", 30)
    theta = model.init(jax.random.key(0), spec)
    keys = jax.random.split(jax.random.key(1), 30)
    _, rows = jax.vmap(lambda key: model.sample(theta, key, jnp.zeros(10)))(keys)
    rows = np.asarray(rows, np.float32)
    problem = Problem(model, family, inference, case.experiment.problem.objective)
    problem = dataclasses.replace(problem, objective=make_elbo(model, family))
    phi = inference.init(jax.random.key(2), family, spec.example, 30)
    experiment = dataclasses.replace(
        case.experiment, problem=problem, evidence=Quadrature(201), dataset=AsTheyAre()
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    grid = jnp.array(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2))
    mass = jnp.array(np.outer(weights, weights).ravel() / (2 * np.pi))

    def elbo(x, lam):
        def likelihood(eps):
            return model.log_likelihood(theta, x, family.transport(lam, eps))

        return mass @ jax.vmap(likelihood)(grid) - family.kl_to_standard_normal(lam)

    return experiment, Params(theta, phi), Splits(rows, rows[:1], rows[:1]), jax.jit(elbo)


def make_elbo(model, family):
    from avi.objectives.elbo import Elbo

    return Elbo(1, antithetic=False).choose(model, family)


class AsTheyAre:
    """Rows that are observations already."""

    def fixed(self):
        return self

    def view(self, row, index, visit):
        return row


def test_the_report_of_a_nonlinear_decoder_agrees_with_quadrature(tanh, tmp_path):
    experiment, params, splits, elbo = tanh
    settings = dataclasses.replace(SETTINGS, num_points=30, splits=("train",), audit=1.0)
    summary = gap.report(experiment, params, splits, settings=settings, run=tmp_path)
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    slope = jax.jit(jax.grad(lambda lam, x: -elbo(x, lam)))
    for one in points:
        x = jnp.asarray(splits.train[int(one["row"])])
        ends = [
            minimize(
                lambda lam, x=x: -float(elbo(x, jnp.asarray(lam, jnp.float32))),
                start,
                jac=lambda lam, x=x: np.asarray(slope(jnp.asarray(lam, jnp.float32), x), float),
            )
            for start in (np.zeros(4), np.array([1.5, 0, -0.5, -0.5]), np.array([-1.5, 0, -0.5, 0]))
        ]
        best = -min(end.fun for end in ends)
        missing = best - float(one["bound_star"])
        noise = 4.75 * float(one["bound_star_se"])
        assert -noise - 1e-3 < missing < noise + 2 * settings.tolerance
    assert summary.validity.q_star_converged
    assert summary.audit.points == 30
    assert {one["evidence_kind"] for one in points} == {"exact"}


def rows_with(khats):
    return [SimpleNamespace(khat=khat, evidence_khat=khat) for khat in khats]


def test_importance_sampling_is_evidence_only_where_khat_agrees():
    few, many = ([0.3] * (100 - bad) + [0.9] * bad for bad in (5, 6))
    weights = SimpleNamespace(num_weights=5000)
    assert usable_evidence(rows_with(few), weights)
    assert not usable_evidence(rows_with(many), weights)
    assert usable_evidence(rows_with([float("nan")] * 10), weights)
    assert usable_evidence(rows_with(many), object())  # no importance weights


def test_khat_is_in_order_where_the_tails_of_q_and_of_the_evidence_are():
    few, many = ([0.3] * (100 - bad) + [0.9] * bad for bad in (5, 6))
    weights = SimpleNamespace(num_weights=5000)
    assert khat_ok(rows_with(few), weights, 1000, usable=True) is True
    assert khat_ok(rows_with(few), weights, 1000, usable=False) is False
    assert khat_ok(rows_with(many), weights, 1000, usable=True) is False
    assert khat_ok(rows_with([float("nan")] * 10), weights, 1000, usable=True) is None
    assert khat_ok(rows_with(many), object(), 1000, usable=True) is None
