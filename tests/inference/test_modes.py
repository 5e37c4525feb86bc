"""Modes: where lam comes from, and which gradients flow to what is trained."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import closed_forms

from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.inference.hypernetwork import Hypernetwork
from avi.inference.iterative import Iterative
from avi.inference.refined import Refined
from avi.inference.start import Start
from avi.models.linear_gaussian import LinearGaussian
from avi.networks.mlp import MLP
from avi.objectives import elbo
from avi.objectives.elbo import AnalyticKL
from avi.objectives.moment_matched import MomentMatched
from avi.optimizers.natural_gradient import NaturalGradient
from avi.problem import Problem
from avi.refine.ascent import Ascent
from avi.types import DataSpec, Params

ORACLE = closed_forms.linear_gaussian(seed=1, size=4, latent_size=2)
X = jnp.array([0.5, -1.0, 1.5, 0.2])
NETWORK = MLP((3,), "tanh", 1.0)
KEY = jax.random.key(3)


def ascent(steps, rate=0.3, optimizer=None):
    return Ascent(optimizer or NaturalGradient(rate, 1.0, 0.0), steps=steps, average=False)


def problem_of(mode, family=None, objective=None):
    model = LinearGaussian(2, "diagonal", 1e-6)
    return Problem(model, family or DiagonalGaussian(2), mode, objective or AnalyticKL(2, False))


def theta():
    exact = {"weight": ORACLE.weight, "mean": ORACLE.mean, "log_scale": np.log(ORACLE.scale)}
    return jax.tree.map(jnp.asarray, exact)


def start(problem):
    params = problem.init(jax.random.key(0), DataSpec(jnp.zeros(4), jnp.zeros(4), "real", 5))
    return params._replace(theta=theta())


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("family", [DiagonalGaussian(2), FullRankGaussian(2)], ids=repr)
@pytest.mark.parametrize("optimizer", [None, optax.sgd(0.05)], ids=["natural", "sgd"])
def test_the_encoder_learns_through_the_refinement(family, optimizer):
    # The draws are fixed by the key, so the bound is a smooth function that differences can check.
    mode = Refined(Amortized(NETWORK), ascent(3, optimizer=optimizer), backprop=True)
    problem = problem_of(mode, family)
    params = start(problem)
    flat, unravel = jax.flatten_util.ravel_pytree(params.phi)
    flat = flat + 0.1

    @jax.jit
    def value(flat):
        return problem.bound(params._replace(phi=unravel(flat)), X, KEY).value

    gradient = jax.grad(value)(flat)
    assert float(jnp.abs(gradient).max()) > 1e-3
    step = 1e-5 * jnp.eye(flat.size)
    differences = jax.vmap(lambda e: (value(flat + e) - value(flat - e)) / 2e-5)(step)
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


def test_svi_takes_the_gradient_of_theta_at_its_lam_and_not_through_the_steps():
    mode = Refined(Start(), ascent(3), backprop=False)
    problem = problem_of(mode)
    params = start(problem)
    through = jax.grad(lambda params: problem.bound(params, X, KEY).surrogate)(params)
    infer_key, bound_key = jax.random.split(KEY)
    lam = problem.infer(params, X, infer_key)
    fixed = jax.grad(lambda theta: problem.local(theta, X).bound(lam, bound_key).surrogate)
    for name, expected in fixed(params.theta).items():
        np.testing.assert_allclose(through.theta[name], expected, rtol=1e-12)


def test_the_gap_of_svi_goes_to_zero_as_its_steps_grow():
    exact = MomentMatched(8)
    posterior = ORACLE.posterior_mean(np.asarray(X))
    gap = closed_forms.mean_field_gap(ORACLE.precision)
    best = ORACLE.log_evidence(np.asarray(X)) - gap
    left = []
    for steps in (2, 8, 32, 256):
        problem = problem_of(Refined(Start(), ascent(steps), backprop=False), objective=exact)
        left.append(best - float(jax.jit(problem.bound)(start(problem), X, KEY).value))
    assert np.all(np.diff(left) < 0)
    assert left[0] > 0.01
    np.testing.assert_allclose(left[-1], 0, atol=1e-6)
    lam = problem.infer(start(problem), X, KEY)
    np.testing.assert_allclose(lam[:2], posterior, atol=1e-4)
    np.testing.assert_allclose(np.exp(-2 * lam[2:]), np.diag(ORACLE.precision), rtol=1e-4)


def test_a_row_of_the_table_is_its_own_lam():
    mode = FreeForm(ascent(3))
    problem = problem_of(mode)
    table = mode.init(KEY, problem.family, X, 7)
    assert table.shape == (7, 4)
    np.testing.assert_array_equal(problem.infer(Params(theta(), table[3] + 2.0), X, KEY), 2.0)


def iterative(steps, update=NETWORK, base=None):
    return Iterative(base or Amortized(NETWORK), update, steps)


def test_an_update_network_that_passes_the_gradient_on_climbs_to_the_optimum():
    # An affine network of (asinh gradient, lam): a rate times the gradient is plain ascent.
    mode = iterative(400, MLP((), "tanh", 0.0), Start())
    problem = problem_of(mode, objective=MomentMatched(8))
    params = start(problem)
    kernel = jnp.concatenate([0.1 * jnp.eye(4), jnp.zeros((4, 4))])
    phi = params.phi | {"update": {"layer0": {"kernel": kernel, "bias": jnp.zeros(4)}}}
    lam = jax.jit(problem.infer)(params._replace(phi=phi), X, KEY)
    np.testing.assert_allclose(lam[:2], ORACLE.posterior_mean(np.asarray(X)), atol=1e-4)
    np.testing.assert_allclose(np.exp(-2 * lam[2:]), np.diag(ORACLE.precision), rtol=1e-4)


def test_updates_begin_where_the_base_is_and_train_both_networks():
    mode = iterative(3, MLP((3,), "tanh", 0.0))
    problem = problem_of(mode)
    params = start(problem)
    base_key, _ = jax.random.split(KEY)
    base = mode.base.infer(params.phi["base"], X, base_key, problem.local(theta(), X))
    np.testing.assert_array_equal(problem.infer(params, X, KEY), base)
    gradient = jax.grad(lambda phi: problem.bound(params._replace(phi=phi), X, KEY).surrogate)
    for part in jax.tree.leaves(gradient(params.phi)["base"]):
        assert float(jnp.abs(part).max()) > 0
    assert float(jnp.abs(gradient(params.phi)["update"]["layer1"]["kernel"]).max()) > 0


def test_a_hypernetwork_scales_the_units_of_a_plain_encoder():
    mode = Hypernetwork(MLP((), "tanh", 1.0), NETWORK, 5, output_scale=1.0)
    problem = problem_of(mode)
    params = start(problem)
    phi = jax.tree.map(lambda leaf: leaf + 0.1, params.phi)
    hidden = np.tanh(X @ phi["body"]["layer0"]["kernel"] + phi["body"]["layer0"]["bias"])
    seen = np.tanh(X @ phi["modulator"]["layer0"]["kernel"] + phi["modulator"]["layer0"]["bias"])
    scales = 1 + seen @ phi["modulator"]["layer1"]["kernel"] + phi["modulator"]["layer1"]["bias"]
    expected = phi["outer"] @ np.diag(scales) @ hidden + phi["bias"]
    found = problem.infer(params._replace(phi=phi), X, KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert mode.unseen() is mode
    assert mode.inner_calls() == 0


def test_an_unseen_observation_costs_free_form_an_optimisation_and_an_encoder_nothing_new():
    assert FreeForm(ascent(3)).unseen() == Refined(Start(), ascent(3), backprop=False)
    svi = Refined(Start(), ascent(3), backprop=False)
    for mode in (Amortized(NETWORK), svi, iterative(3), Start()):
        assert mode.unseen() is mode


def test_evaluations_count_the_inner_steps_and_their_second_derivative():
    semi_amortized = Refined(Amortized(NETWORK), ascent(3), backprop=True)
    assert Amortized(NETWORK).inner_calls() == FreeForm(ascent(3)).inner_calls() == 0
    assert Refined(Start(), ascent(3), backprop=False).inner_calls() == 3
    assert semi_amortized.inner_calls() == 6
    assert iterative(4).inner_calls() == 4
    problem = problem_of(semi_amortized, objective=AnalyticKL(4, False))
    assert problem.gradient_evaluations() == (1 + 6) * 4


def test_the_inner_steps_and_the_bound_never_share_a_draw(monkeypatch):
    used = []
    original = elbo.draw_noise

    def recording(family, key, *arguments, **named):
        used.append(tuple(np.ravel(jax.random.key_data(key)).tolist()))
        return original(family, key, *arguments, **named)

    monkeypatch.setattr(elbo, "draw_noise", recording)
    mode = Refined(Start(), ascent(2), backprop=False)
    problem = problem_of(mode, objective=AnalyticKL(1, False))
    with jax.disable_jit():
        problem.bound(start(problem), X, KEY)
    # Each inner step looks at its draw twice, before and after; the bound has one of its own.
    assert [used.count(key) for key in dict.fromkeys(used)] == [2, 2, 1]


def test_svi_of_one_step_is_refused():
    with pytest.raises(ValueError, match=r"Try inference\.refine\.steps=20"):
        Refined(Start(), ascent(1), backprop=False)


def test_an_encoder_without_a_gradient_is_refused():
    with pytest.raises(ValueError, match=r"Try inference\.backprop=true"):
        Refined(Amortized(NETWORK), ascent(3), backprop=False)


def test_refining_a_table_is_refused():
    with pytest.raises(ValueError, match=r"Try inference=free_form"):
        Refined(FreeForm(ascent(3)), ascent(3), backprop=True)
