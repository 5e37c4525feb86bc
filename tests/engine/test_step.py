"""The training step: what it costs, what it moves, and that nothing depends on how it is run."""

import math
from dataclasses import dataclass
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from avi.config.compose import compose
from avi.engine import loop as training
from avi.engine.feed import mapped
from avi.engine.loop import Loop, make_run
from avi.engine.step import _all_finite, init_state, make_step
from avi.errors import ConfigError
from avi.families.coupling_flow import CouplingFlow
from avi.families.gaussian import DiagonalGaussian
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.inference.refined import Refined
from avi.inference.start import Start
from avi.models.linear_gaussian import LinearGaussian
from avi.networks.mlp import MLP
from avi.objectives.elbo import AnalyticKL, Pathwise
from avi.optimizers.natural_gradient import NaturalGradient
from avi.problem import Problem
from avi.refine.ascent import Ascent
from avi.run.session import open_session
from avi.types import DataSpec, Params

N, SIZE = 6, 3
ASCENT = Ascent(optax.sgd(0.1), steps=3, average=False)
NETWORK = MLP((4,), "tanh", 1.0)
MODES = {
    "free_form": FreeForm(ASCENT),
    "svi": Refined(Start(), ASCENT, backprop=False),
    "amortized": Amortized(NETWORK),
    "semi_amortized": Refined(Amortized(NETWORK), ASCENT, backprop=True),
}
KEY = jax.random.key(0)
every_mode = pytest.mark.parametrize("mode", MODES)


@dataclass(frozen=True)
class WithPrior(LinearGaussian):
    """A model whose parameters have a prior, so that its weight in the bound can be seen."""

    def log_prior(self, theta):
        return -jnp.sum(theta["weight"] ** 2)


def view(row, index, visit):
    return jnp.asarray(row, float)


def rows(number=N):
    return jnp.asarray(np.random.default_rng(0).standard_normal((number, SIZE)), float)


def problem_of(mode):
    model = WithPrior(2, "shared", 1e-3)
    return Problem(model, DiagonalGaussian(2), MODES[mode], AnalyticKL(2, False))


def start_of(problem, optimizers, number=N):
    @jax.jit
    def start():
        spec = DataSpec(jnp.zeros(SIZE), jnp.zeros(SIZE), "real", number)
        params = problem.init(jax.random.key(1), spec)
        # Away from the start, where some gradients vanish.
        shifted = jax.tree.map(lambda leaf: leaf + 0.1, params)
        return init_state(problem, optimizers, shifted)

    return start()


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)] or [np.zeros(0)])


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


def moves(mode, batches, optimizers):
    """Return how far theta and phi move in the step of each batch, from one state."""
    problem = problem_of(mode)
    step = jax.jit(make_step(problem, optimizers, view, N))
    state = start_of(problem, optimizers)
    results = []
    for batch in batches:
        after, _ = step(state, rows(), jnp.asarray(batch, jnp.int32), KEY)
        results.append([flat(after.params[part]) - flat(state.params[part]) for part in (0, 1)])
    return results


@pytest.mark.usefixtures("double_precision")
@every_mode
def test_the_mean_gradient_over_all_minibatches_is_that_of_all_data(mode):
    # The noise of a row is a function of its id and of the step, so it is common to all batches.
    sgd = Params(optax.sgd(1.0), optax.sgd(1.0))
    everything = moves(mode, [range(N)], sgd)[0]
    batches = moves(mode, list(combinations(range(N), 2)), sgd)
    for part in (0, 1):
        mean = np.mean([batch[part] for batch in batches], axis=0)
        # A row is in a third of the batches, and each of its moves is that of its own bound.
        scale = 3.0 if part == 1 and mode == "free_form" else 1.0
        np.testing.assert_allclose(mean * scale, everything[part], atol=1e-12)
    assert np.abs(everything[0]).max() > 1e-3


@pytest.mark.usefixtures("double_precision")
def test_a_gradient_step_ascends_the_mean_bound_plus_the_prior_per_datapoint():
    problem = problem_of("amortized")
    sgd = Params(optax.sgd(1.0), optax.sgd(1.0))
    state = start_of(problem, sgd)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(KEY, 0), jnp.arange(N))

    def total(params):
        bounds = [problem.bound(params, rows()[i], keys[i]).value for i in range(N)]
        return sum(bounds) / N + problem.model.log_prior(params.theta) / N

    value, gradient = jax.jit(jax.value_and_grad(total))(state.params)
    step = jax.jit(make_step(problem, sgd, view, N))
    after, metrics = step(state, rows(), jnp.arange(N), KEY)
    np.testing.assert_allclose(flat(after.params) - flat(state.params), flat(gradient), atol=1e-13)
    np.testing.assert_allclose(metrics.value + metrics.prior, value, rtol=1e-13)


def test_rows_outside_the_batch_and_their_optimiser_do_not_move_by_a_bit():
    problem = problem_of("free_form")
    adam = Params(optax.adam(0.1), optax.adam(0.1))
    step = jax.jit(make_step(problem, adam, view, N))
    state = start_of(problem, adam)
    for batch in ([1, 4], [4, 0]):
        before = jax.tree.map(np.asarray, (state.params.phi, state.opt_state.phi))
        state, _ = step(state, rows(), jnp.asarray(batch, jnp.int32), KEY)
        after = jax.tree.map(np.asarray, (state.params.phi, state.opt_state.phi))
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
            moved = (old != new).reshape(N, -1).any(axis=1)
            np.testing.assert_array_equal(np.flatnonzero(moved), sorted(batch))
    # Adam counts the visits of each row on its own: its bias correction must not see the others'.
    counts = next(leaf for leaf in jax.tree.leaves(state.opt_state.phi) if leaf.dtype == jnp.int32)
    np.testing.assert_array_equal(counts, [1, 1, 0, 0, 2, 0])


@pytest.mark.usefixtures("double_precision")
def test_a_row_moves_as_far_whatever_the_batch_it_is_in():
    sgd = Params(optax.sgd(1.0), optax.sgd(1.0))
    alone, together = (
        part[1].reshape(N, -1)[2] for part in moves("free_form", [[2], [2, 5, 0]], sgd)
    )
    np.testing.assert_allclose(alone, together, atol=1e-13)


@pytest.mark.usefixtures("double_precision")
@every_mode
def test_a_compiled_step_does_what_the_step_does(mode):
    problem = problem_of(mode)
    adam = Params(optax.adam(0.1), optax.adam(0.1))
    step, state = make_step(problem, adam, view, N), start_of(problem, adam)
    batch = jnp.array([3, 1], jnp.int32)
    arguments = (state, rows(), batch, KEY)
    eager, compiled = step(*arguments), jax.jit(step)(*arguments)
    np.testing.assert_allclose(flat(eager), flat(compiled), rtol=1e-10, atol=1e-12)


@every_mode
def test_a_step_returns_the_types_it_was_given(mode):
    # A weakly typed zero in the state would compile the loop a second time.
    problem = problem_of(mode)
    adam = Params(optax.adam(0.1), optax.adam(0.1))
    step, state = make_step(problem, adam, view, N), start_of(problem, adam)
    after, _ = jax.eval_shape(step, state, rows(), jnp.array([0, 1], jnp.int32), KEY)

    def types(tree):
        return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]

    assert types(after) == types(state)
    assert not any(weak for _, _, weak in types(state))


@every_mode
def test_the_loop_compiles_once_whatever_the_length_and_the_seed(mode):
    problem = problem_of(mode)
    adam = Params(optax.adam(0.1), optax.adam(0.1))
    run = make_run(make_step(problem, adam, view, N), steps_per_epoch=3, batch_size=2)
    state, order = start_of(problem, adam), jnp.arange(N)
    for stop in (1, 2, 3):
        state, *_ = run(state, rows(), order, stop, jax.random.fold_in(KEY, stop))
    assert int(state.step) == 3
    assert run._cache_size() == 1


def train(mode, seconds_per_chunk, log_every, monkeypatch, data=None, **settings):
    """Return the final state and every step's bound of a short run, cut into chunks."""
    monkeypatch.setattr(training, "SECONDS_PER_CHUNK", seconds_per_chunk)
    problem = problem_of(mode)
    adam = Params(optax.adam(0.1), optax.adam(0.1))
    chunks = []
    data = rows() if data is None else data
    loop = Loop(problem, adam, view, data, KEY, batch_size=2, log_every=log_every, **settings)
    for chunk in loop.fit(start_of(problem, adam), 7):
        chunks.append(chunk._replace(state=jax.tree.map(np.array, chunk.state)))
    assert [chunk.first_step for chunk in chunks[1:]] == [
        chunk.first_step + len(chunk.value) for chunk in chunks[:-1]
    ]
    return flat(chunks[-1].state), np.concatenate([chunk.value for chunk in chunks]), len(chunks)


@every_mode
def test_how_the_steps_are_cut_into_chunks_changes_no_number(mode, monkeypatch):
    one_by_one = train(mode, 0.0, 1, monkeypatch)
    at_once = train(mode, 1e9, 100, monkeypatch)
    np.testing.assert_array_equal(one_by_one[0], at_once[0])
    np.testing.assert_array_equal(one_by_one[1], at_once[1])
    assert one_by_one[2] == 7
    assert at_once[2] == 3  # a chunk ends with its epoch


def test_a_run_that_goes_on_from_a_state_is_the_run_that_never_stopped():
    problem = problem_of("amortized")
    adam = Params(optax.adam(0.1), optax.adam(0.1))

    def run(state, num_steps):
        loop = Loop(problem, adam, view, rows(), KEY, batch_size=2, log_every=2)
        for chunk in loop.fit(state, num_steps):
            last = chunk
        return last.state

    whole = run(start_of(problem, adam), 7)
    halves = run(run(start_of(problem, adam), 4), 7)
    np.testing.assert_array_equal(flat(whole), flat(halves))


def equations(jaxpr):
    """Yield every equation of a jaxpr and of the jaxprs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else [value]:
                if hasattr(inner, "jaxpr"):
                    yield from equations(inner.jaxpr)
                elif hasattr(inner, "eqns"):
                    yield from equations(inner)


def test_a_step_of_free_form_computes_nothing_of_the_size_of_the_data():
    number = 10_007
    problem = problem_of("free_form")
    adam = Params(optax.adam(0.1), optax.adam(0.1))
    state = start_of(problem, adam, number)
    step = make_step(problem, adam, view, number)
    data = rows(number)
    jaxpr = jax.make_jaxpr(step)(state, data, jnp.array([5, 9], jnp.int32), KEY).jaxpr
    large = {
        equation.primitive.name
        for equation in equations(jaxpr)
        if any(variable.aval.size >= number for variable in equation.outvars)
    }
    assert large == {"scatter"}  # written in place where the state is donated


def test_every_row_is_visited_once_in_an_epoch_and_in_another_order_in_the_next():
    orders = [np.asarray(training.epoch_order(KEY, epoch, 7, 2)) for epoch in (0, 1)]
    for order in orders:
        assert len(order) == 6  # the incomplete last batch is left out
        assert len(set(order)) == 6
    assert (orders[0] != orders[1]).any()
    np.testing.assert_array_equal(orders[0], training.epoch_order(KEY, 0, 7, 2))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found_wherever_it_is(shape, bad):
    good = np.linspace(-1e30, 1e30, math.prod(shape), dtype=np.float32).reshape(shape)
    all_finite = jax.jit(_all_finite)
    assert all_finite({"a": good, "b": np.zeros(2)})
    for place in np.ndindex(shape):
        spoiled = good.copy()
        spoiled[place] = bad
        assert not all_finite({"a": spoiled, "b": np.zeros(2)})
    if shape and bad == np.inf:
        both = np.array([np.inf, -np.inf] * math.prod(shape), np.float32)
        assert not all_finite(both.reshape(-1, *shape))


def test_a_number_that_is_not_finite_stops_the_run_at_its_step():
    problem = problem_of("amortized")
    sgd = Params(optax.sgd(1e30), optax.sgd(1e30))
    loop = Loop(problem, sgd, view, rows(), KEY, batch_size=2, log_every=50)
    chunks = [
        (chunk.finite, chunk.first_step + len(chunk.value))
        for chunk in loop.fit(start_of(problem, sgd), 30)
    ]
    assert [finite for finite, _ in chunks] == [*[True] * (len(chunks) - 1), False]
    assert chunks[-1][1] < 30


def test_the_step_hands_the_view_the_row_its_id_and_the_visit():
    seen = {}

    def recording(row, index, visit):
        return jnp.asarray([index, visit, row[0]], float)

    class Spy(LinearGaussian):
        def log_likelihood(self, theta, x, z):
            seen["x"] = x
            return -jnp.sum((x - theta["mean"]) ** 2)

    problem = Problem(
        Spy(2, "shared", 1e-3), DiagonalGaussian(2), MODES["amortized"], AnalyticKL(1, False)
    )
    sgd = Params(optax.sgd(0.5), optax.sgd(0.0))
    spec = DataSpec(jnp.zeros(SIZE), jnp.zeros(SIZE), "real", N)
    state = init_state(problem, sgd, problem.init(KEY, spec))
    state = state._replace(step=jnp.full((), 7, jnp.int32))
    step = jax.jit(make_step(problem, sgd, recording, N))
    after, _ = step(state, rows(), jnp.array([4, 2], jnp.int32), KEY)
    # The gradient of -|x - mean|^2 at mean 0, averaged and halved, is the mean x itself.
    expected = [3.0, 7.0, rows()[[4, 2], 0].mean()]
    np.testing.assert_allclose(after.params.theta["mean"], expected, rtol=1e-5)


def test_natural_rows_solve_a_conjugate_bound_in_one_visit():
    # O1: a step of rate 1 lands on the mean that goes with the precision it lands on.
    with jax.enable_x64(True):
        problem = Problem(
            LinearGaussian(1, "shared", 1e-3),
            DiagonalGaussian(1),
            FreeForm(ASCENT),
            AnalyticKL(2, True),
        )
        optimizers = Params(optax.set_to_zero(), NaturalGradient(1.0, 1.0, 0.0))
        spec = DataSpec(jnp.zeros(SIZE), jnp.zeros(SIZE), "real", N)

        @jax.jit
        def visited():
            params = problem.init(jax.random.key(1), spec)
            state = init_state(problem, optimizers, params)
            state, _ = make_step(problem, optimizers, view, N)(state, rows(), jnp.arange(N), KEY)
            posterior = jax.vmap(problem.model.posterior, (None, 0))(params.theta, rows())
            return state.params.phi, *posterior

        for lam, mean, precision in zip(*map(np.asarray, visited()), strict=True):
            # The two mirrored draws give the gradient in the mean without noise, that in the scale
            # with theirs, so only the ratio of mean and variance is exact.
            information = lam[0] * np.exp(-2 * lam[1])
            np.testing.assert_allclose(information, (precision @ mean)[0], rtol=1e-10)


def test_the_draws_differ_between_steps():
    problem = problem_of("amortized")
    still = Params(optax.set_to_zero(), optax.set_to_zero())
    step, state = jax.jit(make_step(problem, still, view, N)), start_of(problem, still)
    values = []
    for _ in range(3):
        state, metrics = step(state, rows(), jnp.array([0, 1], jnp.int32), KEY)
        values.append(float(metrics.value))
    assert len(set(values)) == 3


def test_the_bound_and_inference_use_keys_of_their_own():
    problem = problem_of("svi")
    params = start_of(problem, Params(optax.sgd(0.1), optax.sgd(0.1))).params
    x = rows()[0]
    infer_key, bound_key = jax.random.split(KEY)
    lam = jax.jit(problem.infer)(params, x, infer_key)
    expected = problem.local(params.theta, x).bound(lam, bound_key).value
    found = jax.jit(lambda: problem.bound(params, x, KEY).value)()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@every_mode
def test_rows_that_are_streamed_to_the_device_give_the_same_numbers(mode, monkeypatch, tmp_path):
    of_a_step = 2 * SIZE * rows()[0, 0].nbytes
    resident = train(mode, 1e9, 1, monkeypatch, data=np.asarray(rows()))
    stored = mapped(np.asarray(rows()), tmp_path)
    assert not list(tmp_path.iterdir())
    streamed = train(mode, 1e9, 1, monkeypatch, data=stored, device_budget=2 * of_a_step)
    np.testing.assert_array_equal(resident[0], streamed[0])
    np.testing.assert_array_equal(resident[1], streamed[1])
    assert streamed[2] == 7  # each step has a window of its own


def test_a_budget_below_two_windows_names_the_least_that_does(monkeypatch):
    data = np.asarray(rows())
    with pytest.raises(ConfigError, match=r"Try dataset.device_budget=72, or a smaller train.log"):
        train("amortized", 1.0, 2, monkeypatch, data=data, device_budget=71)


def test_a_session_keeps_rows_above_the_budget_in_a_mapped_file(monkeypatch, tmp_path):
    monkeypatch.setenv("AVI_CACHE_DIR", str(tmp_path / "cache"))
    rows = {}
    for budget in (50_000, 100_000):  # the digits for training take 1437 x 64 bytes
        (job,) = compose(["model=linear_gaussian", f"dataset.device_budget={budget}"])
        rows[budget] = open_session(job.tree).splits.train
    assert [isinstance(kept, np.memmap) for kept in rows.values()] == [True, False]
    np.testing.assert_array_equal(*rows.values())


@pytest.mark.usefixtures("double_precision")
@every_mode
def test_weights_of_a_family_climb_the_mean_bound_and_leave_other_rows_alone(mode):
    flow = CouplingFlow(2, 1, "shared", layers=2, width=4, transform="affine")
    problem = Problem(WithPrior(2, "shared", 1e-3), flow, MODES[mode], Pathwise(2, False))
    sgd = Params(optax.sgd(1.0), optax.sgd(1.0))
    state, batch = start_of(problem, sgd), jnp.array([4, 1], jnp.int32)
    after, _ = jax.jit(make_step(problem, sgd, view, N))(state, rows(), batch, KEY)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(KEY, 0), batch)

    def mean(psi):
        def bound(number, key):
            phi = state.params.phi
            own = phi[number] if mode == "free_form" else phi
            params = state.params._replace(phi=own, psi=psi)
            return problem.bound(params, rows()[number], key).surrogate

        return jax.vmap(bound)(batch, keys).mean()

    expected = flat(jax.jit(jax.grad(mean))(state.params.psi))
    np.testing.assert_allclose(
        flat(after.params.psi) - flat(state.params.psi), expected, atol=1e-12
    )
    assert np.abs(expected).max() > 1e-4
    if mode == "free_form":
        moved = np.abs(after.params.phi - state.params.phi).max(axis=1) > 0
        assert moved.tolist() == [False, True, False, False, True, False]
