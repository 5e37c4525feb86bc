"""Local ascent reaches the optimum of one datapoint's bound and leaves the rest alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import closed_forms

from avi.families.gaussian import DiagonalGaussian
from avi.models.linear_gaussian import LinearGaussian
from avi.objectives.elbo import AnalyticKL
from avi.objectives.moment_matched import MomentMatched
from avi.optimizers.natural_gradient import NaturalGradient
from avi.refine.ascent import Ascent
from avi.types import Local, Target

ORACLE = closed_forms.linear_gaussian(seed=2, size=4, latent_size=2)
X = np.array([0.5, -1.0, 1.5, 0.2])
FAMILY = DiagonalGaussian(2)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def local(objective):
    theta = {
        "weight": jnp.asarray(ORACLE.weight),
        "mean": jnp.asarray(ORACLE.mean),
        "log_scale": jnp.log(jnp.asarray(ORACLE.scale)),
    }
    target = Target(LinearGaussian(2, "diagonal", 1e-6), theta, jnp.asarray(X))
    return Local(target, FAMILY, objective)


def deficit(lam):
    """Return the nats that lam lacks to the best diagonal Gaussian."""
    variance = np.diag(np.exp(2 * np.asarray(lam[2:])))
    gap = closed_forms.gaussian_gap(
        np.asarray(lam[:2]), variance, ORACLE.posterior_mean(X), ORACLE.precision
    )
    return gap - closed_forms.mean_field_gap(ORACLE.precision)


@pytest.mark.parametrize(
    "refine",
    [
        Ascent(NaturalGradient(0.3, 1.0, 0.0), steps=300, average=False),
        Ascent(optax.sgd(0.05), steps=2000, average=False),
        Ascent(optax.adam(0.03, b2=0.99), steps=2000, average=True),
    ],
    ids=["natural", "sgd", "adam"],
)
def test_ascent_reaches_the_optimum_of_an_exact_bound(refine):
    problem = local(MomentMatched(8))
    lam = jax.jit(lambda key: refine(problem, FAMILY.init(), key))(jax.random.key(0))
    assert -1e-12 < deficit(lam) < 1e-3


def test_averaging_removes_the_noise_floor_of_a_constant_rate():
    noisy = local(AnalyticKL(4, False))

    def mean_deficit(average):
        refine = Ascent(optax.adam(0.05, b2=0.99), steps=600, average=average)
        keys = jax.random.split(jax.random.key(1), 40)
        lams = jax.jit(jax.vmap(lambda key: refine(noisy, FAMILY.init(), key)))(keys)
        return np.mean([deficit(lam) for lam in lams])

    assert mean_deficit(True) < 0.2 * mean_deficit(False)


def test_the_average_is_that_of_the_second_half():
    refine = Ascent(optax.sgd(0.1), steps=6, average=True)
    problem = local(MomentMatched(8))
    step = jax.jit(lambda state, key: refine.step(problem, state, key))
    state, iterates = refine.init(problem, FAMILY.init()), []
    for number in range(12):
        state = step(state, jax.random.key(number))
        iterates.append(state.lam)
        if number in (5, 11):  # the end of each call's worth of steps
            expected = np.mean(iterates[-3:], axis=0)
            np.testing.assert_allclose(refine.estimate(state), expected, rtol=1e-12)


def test_a_call_is_its_steps_one_by_one():
    refine = Ascent(optax.adam(0.1), steps=4, average=True)
    problem, key = local(AnalyticKL(2, False)), jax.random.key(5)
    state = refine.init(problem, FAMILY.init())
    for number in range(4):
        of_step = jax.random.fold_in(key, number)
        after = refine.step(problem, state, of_step)
        rises = problem.bound(after.lam, of_step).value >= problem.bound(state.lam, of_step).value
        kept = after if rises else after._replace(lam=state.lam)
        state = kept._replace(average=average_of(refine, state, kept.lam))
    called = refine(problem, FAMILY.init(), key)
    np.testing.assert_allclose(called, refine.estimate(state), rtol=1e-10)


def average_of(refine, state, lam):
    """Return the mean of the second half of the iterates up to `lam`."""
    weight = int(state.taken) - refine.steps // 2 + 1
    return state.average + (lam - state.average) / weight if weight > 1 else lam


def test_a_step_that_lowers_the_bound_of_its_draw_is_not_taken():
    problem, key = local(AnalyticKL(2, False)), jax.random.key(5)
    wild = Ascent(optax.sgd(1e6), steps=5, average=False)
    np.testing.assert_array_equal(wild(problem, FAMILY.init(), key), FAMILY.init())


def test_an_ascent_without_steps_is_refused():
    with pytest.raises(ValueError, match="steps must be 1 or more; got 0"):
        Ascent(optax.sgd(0.1), steps=0, average=False)
