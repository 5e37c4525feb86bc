"""Bounds per datapoint: the same in any order and company, and below the evidence."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import closed_forms

from avi.engine.evaluator import Evaluator
from avi.engine.lanes import in_lanes
from avi.families.gaussian import DiagonalGaussian
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.models.linear_gaussian import LinearGaussian
from avi.networks.mlp import MLP
from avi.objectives.elbo import AnalyticKL
from avi.population import Points
from avi.problem import Problem
from avi.refine.ascent import Ascent
from avi.types import DataSpec

N, SIZE = 7, 4
MODES = {
    "amortized": Amortized(MLP((3,), "tanh", 1.0)),
    "free_form": FreeForm(Ascent(optax.sgd(0.1), steps=3, average=False)),
}
ROWS = np.random.default_rng(0).standard_normal((12, SIZE)).astype(np.float32)
KEY = jax.random.key(0)


def view(row, index, visit):
    return jnp.asarray(row, float)


def problem_of(mode):
    model = LinearGaussian(2, "shared", 1e-3)
    return Problem(model, DiagonalGaussian(2), MODES[mode], AnalyticKL(3, False))


def evaluator_of(mode):
    problem = problem_of(mode)
    spec = DataSpec(jnp.zeros(SIZE), jnp.zeros(SIZE), "real", N)
    params = problem.init(jax.random.key(1), spec)

    def unequal(leaf):
        return leaf + 0.1 * jnp.arange(leaf.size).reshape(leaf.shape)

    return Evaluator(problem, view, N), jax.tree.map(unequal, params)


def points(ids):
    return Points(ROWS[np.asarray(ids)], np.asarray(ids))


@pytest.mark.parametrize("mode", MODES)
def test_a_point_has_the_same_bound_in_any_company_and_order(mode):
    evaluator, params = evaluator_of(mode)
    everything = evaluator.bounds(params, points(range(12)), KEY)
    lams = evaluator.lams(params, points(range(12)), KEY)
    assert everything.dtype == np.float64
    assert lams.shape == (12, 4)
    for ids in ([3], [11, 2, 7], [0, 8]):
        np.testing.assert_array_equal(evaluator.bounds(params, points(ids), KEY), everything[ids])
        np.testing.assert_array_equal(evaluator.lams(params, points(ids), KEY), lams[ids])


def test_a_training_row_has_its_own_lam_and_another_an_optimisation():
    evaluator, params = evaluator_of("free_form")
    lams = evaluator.lams(params, points([2, 9]), KEY)
    np.testing.assert_array_equal(lams[0], np.asarray(params.phi[2], np.float64))
    with_other_table = params._replace(phi=params.phi + 1.0)
    other = evaluator.lams(with_other_table, points([2, 9]), KEY)
    np.testing.assert_array_equal(lams[1], other[1])
    assert (lams[0] != other[0]).all()


def test_the_bound_is_at_the_lam_that_is_reported():
    evaluator, params = evaluator_of("amortized")
    problem = problem_of("amortized")
    lam = evaluator.lams(params, points([5]), KEY)[0]
    _, bound_key = jax.random.split(jax.random.fold_in(KEY, 5))
    value = problem.local(params.theta, ROWS[5]).bound(jnp.asarray(lam, float), bound_key).value
    np.testing.assert_allclose(evaluator.bounds(params, points([5]), KEY)[0], value, rtol=1e-6)


@pytest.mark.parametrize("number", [1, 4, 5, 9])
def test_lanes_return_every_row_once_and_in_order(number):
    mapped = in_lanes(lambda shared, row, scale: {"sum": row.sum() * scale + shared}, width=4)
    rows = np.arange(number * 3, dtype=np.float32).reshape(number, 3)
    result = mapped(jnp.float32(1.0), rows, np.full(number, 2.0, np.float32))["sum"]
    np.testing.assert_array_equal(result, rows.sum(axis=1) * 2 + 1)


def test_sums_over_lanes_are_in_double_precision():
    mapped = in_lanes(lambda shared, row: (row, jnp.int32(3)))
    real, whole = mapped(None, np.ones(3, np.float32))
    assert real.dtype == np.float64
    assert whole.dtype == np.int32


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_an_exact_bound_never_exceeds_the_evidence_and_gaps_add_up(lam, seed):
    oracle = closed_forms.linear_gaussian(seed, SIZE, 2)
    x, lam = ROWS[0].astype(float), np.asarray(lam)
    evidence = oracle.log_evidence(x)
    bound = oracle.elbo(x, lam[:2], np.diag(np.exp(2 * lam[2:])))
    approximation = closed_forms.mean_field_gap(oracle.precision)
    amortization = evidence - approximation - bound
    assert approximation >= -1e-9
    assert amortization >= -1e-9
    with jax.enable_x64(True):
        theta = {
            "weight": oracle.weight,
            "mean": oracle.mean,
            "log_scale": np.log(oracle.scale),
        }
        got = float(EVIDENCE(theta, x))
    np.testing.assert_allclose(got - bound, approximation + amortization, atol=1e-9)


EVIDENCE = jax.jit(LinearGaussian(2, "diagonal", 1e-6).log_evidence)
