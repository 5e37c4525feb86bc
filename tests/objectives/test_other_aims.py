"""Objectives with aims of their own: Rényi, chi, VIMCO, wake-sleep, weighted divergences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_forms
from oracles.statistics import assert_mean_is

from avi.errors import ConfigError
from avi.families.categorical import Categorical
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.networks.mlp import MLP
from avi.objectives.beta import Beta
from avi.objectives.cubo import Cubo
from avi.objectives.elbo import AnalyticKL
from avi.objectives.renyi import Renyi
from avi.objectives.thermodynamic import Thermodynamic
from avi.objectives.vimco import Vimco
from avi.objectives.wake_sleep import WakeSleep
from avi.problem import Problem
from avi.refine.ascent import Ascent
from avi.types import Bound, DataSpec, Params, Target
from avi.verify.bench import Bench, adam

ORACLE = closed_forms.linear_gaussian(seed=0, size=3, latent_size=2)
X = np.array([0.5, -1.0, 1.5])
FAMILY, WIDE = DiagonalGaussian(2), FullRankGaussian(2)
LAM = jnp.array([0.3, -0.4, -0.2, 0.1])
DRAWS = 20_000
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def model_and_theta():
    """Return avi's model and the oracle's parameters."""
    theta = {
        "weight": jnp.asarray(ORACLE.weight),
        "mean": jnp.asarray(ORACLE.mean),
        "log_scale": jnp.log(ORACLE.scale),
    }
    return LinearGaussian(2, "diagonal", 1e-6), theta


def target():
    """Return the oracle as avi's model at one x."""
    model, theta = model_and_theta()
    return Target(model, theta, jnp.asarray(X))


def many(function, draws=DRAWS):
    """Return independent values of `function` of a key."""
    keys = jax.random.split(jax.random.key(1), draws)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(function))(keys))


def near():
    """Return a member close to the posterior, under which weights have moments; and its (m, V)."""
    mean = ORACLE.posterior_mean(X) + 0.1
    covariance = 1.2 * np.linalg.inv(ORACLE.precision)
    return WIDE.join(jnp.asarray(mean), jnp.linalg.cholesky(covariance)), mean, covariance


def log_moment(power):
    """Return log E_q[w^power], the integral of a Gaussian: p(x, z)^power q(z)^(1 - power)."""
    _, mean, covariance = near()
    posterior, precision = ORACLE.posterior_mean(X), ORACLE.precision
    of_q = np.linalg.inv(covariance)
    joint = power * precision + (1 - power) * of_q
    assert np.all(np.linalg.eigvalsh(joint) > 0), "the moment is infinite"
    shift = power * precision @ posterior + (1 - power) * of_q @ mean
    quadratic = (
        shift @ np.linalg.solve(joint, shift)
        - power * posterior @ precision @ posterior
        - (1 - power) * mean @ of_q @ mean
    )
    logs = power * np.linalg.slogdet(precision)[1] + (1 - power) * np.linalg.slogdet(of_q)[1]
    constant = power * ORACLE.log_evidence(X)
    return constant + 0.5 * (logs - np.linalg.slogdet(joint)[1] + quadratic)


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5, 2.0])
def test_renyi_has_the_moment_of_the_closed_form(alpha):
    # exp((1 - alpha) L) is a mean of weights: without bias at any k.
    objective, power = Renyi(alpha, 3), 1 - alpha
    expected = log_moment(power)
    values = many(
        lambda key: jnp.exp(power * objective(target(), WIDE, near()[0], key).value - expected)
    )
    assert_mean_is(values, 1.0, smallest_detectable=0.2)


def test_renyi_falls_in_alpha_on_the_same_draws():
    alphas = (-2.0, -0.5, 0.0, 0.5, 0.99, 1.01, 2.0, 5.0)
    key = jax.random.key(3)
    values = [float(Renyi(alpha, 7)(target(), FAMILY, LAM, key).value) for alpha in alphas]
    assert np.all(np.diff(values) < 0)


def test_cubo_has_the_moment_of_the_closed_form_and_is_above_the_evidence():
    objective, expected = Cubo(1.5, 3), log_moment(1.5)
    values = many(
        lambda key: jnp.exp(1.5 * objective.upper(target(), WIDE, near()[0], key) - expected)
    )
    assert_mean_is(values, 1.0, smallest_detectable=0.2)
    assert expected / 1.5 > ORACLE.log_evidence(X)


def test_cubo_lowers_the_upper_bound_in_lam_and_theta_climbs_the_elbo():
    objective, key = Cubo(2.0, 5), jax.random.key(5)
    of_lam = jax.grad(lambda lam: objective(target(), FAMILY, lam, key).surrogate)(LAM)
    upper = jax.grad(lambda lam: objective.upper(target(), FAMILY, lam, key))(LAM)
    np.testing.assert_allclose(of_lam, -upper, rtol=1e-12)

    def at(theta, part):
        return getattr(objective(target()._replace(theta=theta), FAMILY, LAM, key), part)

    _, theta = model_and_theta()
    ascent, elbo = (jax.grad(partial(at, part=part))(theta) for part in Bound._fields[::-1])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), ascent, elbo)


def mixture():
    """Return a finite model at one x."""
    model = Mixture(3, "shared", 1e-2)
    spec = DataSpec(jnp.zeros(3), jnp.zeros(3), "real", 100, jnp.eye(3) * 2)
    return Target(model, model.init(jax.random.key(2), spec), jnp.array([0.4, -0.2, 0.7]))


def test_vimco_has_the_gradient_of_the_bound_that_enumeration_gives():
    family, lam, where = Categorical(3), jnp.array([0.3, -0.5, 0.1]), mixture()
    places = family.points()

    def exact(lam):
        log_q = jax.vmap(lambda z: family.log_prob(lam, z))(places)
        log_joint = jax.vmap(lambda z: where.model.log_joint(where.theta, where.x, z))(places)
        pairs = jnp.logaddexp((log_joint - log_q)[:, None], (log_joint - log_q)[None]) - jnp.log(2)
        return jnp.sum(jnp.exp(log_q[:, None] + log_q[None]) * pairs)

    gradients = many(
        lambda key: jax.grad(lambda lam: Vimco(2)(where, family, lam, key).surrogate)(lam)
    )
    assert_mean_is(gradients, jax.grad(exact)(lam), smallest_detectable=0.1)


def test_the_thermodynamic_objective_rises_from_the_elbo_to_iwae_draw_by_draw():
    # Of the same S draws: one partition is the mean of log w, and many sum to its integral over b.
    family, lam, where, key = Categorical(3), jnp.array([0.3, -0.5, 0.1]), mixture(), KEY
    keys = jax.random.split(key, 6)
    draws = jax.vmap(lambda one: family.sample(lam, one))(keys)
    log_w = jax.vmap(
        lambda z: where.model.log_joint(where.theta, where.x, z) - family.log_prob(lam, z)
    )(draws)
    values = [
        float(Thermodynamic(6, number, 1e-3)(where, family, lam, key).value)
        for number in (1, 2, 5, 50, 5000)
    ]
    iwae = jax.nn.logsumexp(log_w) - jnp.log(6)
    assert np.all(np.diff(values) > 0)
    np.testing.assert_allclose(values[0], log_w.mean(), rtol=1e-12)
    # A left sum errs by at most its widest step times the rise.
    assert 0 < iwae - values[-1] < 2e-3 * (log_w.max() - log_w.min())


def test_wake_sleep_in_theta_is_the_gradient_of_the_bound_at_its_draws():
    family, lam, where = Categorical(3), jnp.array([0.3, -0.5, 0.1]), mixture()

    def ascent(objective):
        def surrogate(theta):
            return objective(where._replace(theta=theta), family, lam, jax.random.key(4)).surrogate

        return jax.grad(surrogate)(where.theta)

    pair = ascent(WakeSleep(5, 1.0, 0.0)), ascent(Vimco(5))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10), *pair)


def encoder(objective, family):
    """Return the problem of an affine encoder."""
    model, _ = model_and_theta()
    return Problem(model, family, Amortized(MLP((), "tanh", 1.0)), objective)


def exact_encoder():
    """Return the weights of the encoder that gives every posterior."""
    root = np.linalg.cholesky(np.linalg.inv(ORACLE.precision))
    bias = [*(-ORACLE.gain @ ORACLE.mean), *np.log(np.diag(root)), root[1, 0]]
    kernel = np.zeros((3, 5))
    kernel[:, :2] = ORACLE.gain.T
    return {"layer0": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}}


@pytest.mark.parametrize("objective", [WakeSleep(1, 0.0, 1.0), WakeSleep(4, 1.0, 0.0)])
def test_an_encoder_of_posteriors_is_a_fixed_point_of_wake_and_of_sleep(objective):
    problem, (_, theta) = encoder(objective, FullRankGaussian(2)), model_and_theta()

    def ascent(phi, key):
        x_key, step_key = jax.random.split(key)
        x = problem.model.sample(theta, x_key, jnp.asarray(X))[1]
        params = Params(theta, phi)
        return problem.bounds(params, x[None], step_key[None], jnp.zeros(())).surrogate.sum()

    phi = exact_encoder()
    gradients = many(lambda key: jax.grad(ascent)(phi, key))
    for leaf in jax.tree.leaves(gradients):
        assert_mean_is(leaf.reshape(len(leaf), -1), 0.0)
    # Elsewhere it is not: an encoder with a wrong mean is moved.
    phi["layer0"]["bias"] = phi["layer0"]["bias"].at[0].add(1.0)
    moved = many(lambda key: jax.grad(ascent)(phi, key))["layer0"]["bias"][:, 0]
    assert moved.mean() < -10 * moved.std() / len(moved) ** 0.5


def test_the_sleep_phase_needs_an_encoder():
    model, _ = model_and_theta()
    table = FreeForm(Ascent(adam(0.1, 2), 2, average=False))
    with pytest.raises(ConfigError, match="Try inference=amortized"):
        Problem(model, FAMILY, table, WakeSleep(1, 0.0, 1.0))
    assert Problem(model, FAMILY, table, WakeSleep(5, 1.0, 0.0))


def step_of(objective, step):
    """Return the bounds of a batch of two, and the gradient of their mean surrogate in phi."""
    problem, (_, theta) = encoder(objective, FAMILY), model_and_theta()
    x = jnp.asarray(np.stack([X, -X]))
    phi = problem.inference.init(jax.random.key(1), FAMILY, x[0], 2)
    keys = jax.random.split(jax.random.key(2), 2)

    def mean(phi):
        bounds = problem.bounds(Params(theta, phi), x, keys, jnp.asarray(step))
        return bounds.surrogate.mean(), bounds.value

    return jax.grad(mean, has_aux=True)(phi)


def test_a_warmed_up_divergence_begins_at_nothing_and_ends_as_the_elbo():
    plain, values = step_of(AnalyticKL(2, True), 0)
    begun, at_begin = step_of(Beta(1.0, 100, 0.0, 2, True), 0)
    ended, at_end = step_of(Beta(1.0, 100, 0.0, 2, True), 100)
    half, _ = step_of(Beta(1.0, 100, 0.0, 2, True), 50)
    same = partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-10)
    jax.tree.map(same, ended, plain)
    # Linear in beta.
    jax.tree.map(lambda a, b, c: same(a + b, 2 * c), begun, ended, half)
    # What is reported is the ELBO at every step.
    same(at_begin, values)
    same(at_end, values)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), begun, ended)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_free_bits_leave_the_divergence_alone_until_it_is_spent():
    same = partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-10)
    plain, values = step_of(Beta(1.0, 0, 0.0, 2, True), 0)
    nothing, at_nothing = step_of(Beta(1.0, 0, 1e6, 2, True), 0)
    begun, _ = step_of(Beta(1.0, 100, 0.0, 2, True), 0)
    spent, _ = step_of(Beta(1.0, 0, 1e-3, 2, True), 0)
    jax.tree.map(same, nothing, begun)
    jax.tree.map(same, spent, plain)
    same(at_nothing, values)


@pytest.mark.slow
def test_a_warmed_up_run_ends_where_the_elbo_does():
    rows = np.random.default_rng(0).multivariate_normal(ORACLE.mean, ORACLE.marginal, 60)
    model, _ = model_and_theta()
    bench = Bench(model, None, rows)
    mode = Amortized(MLP((), "tanh", 1.0))
    ends = []
    for objective in (AnalyticKL(8, True), Beta(1.0, 500, 0.0, 8, True)):
        found = bench.fitted(
            FAMILY,
            mode,
            num_steps=3000,
            phi=adam(0.03, 3000),
            theta=adam(0.03, 3000),
            objective=objective,
        )
        bound = bench._replace(theta=found.theta).bounds(FAMILY, mode, found.phi)
        ends.append(bound.mean())
    assert abs(ends[0] - ends[1]) < 0.01


@pytest.mark.parametrize(
    ("objective", "arguments"),
    [
        (Renyi, (1.0, 5)),
        (Cubo, (1.0, 5)),
        (Vimco, (1,)),
        (Thermodynamic, (1, 5, 0.1)),
        (Thermodynamic, (5, 0, 0.1)),
        (Thermodynamic, (5, 5, 1.0)),
        (WakeSleep, (1, 1.0, 0.0)),
        (WakeSleep, (5, 0.0, 0.0)),
        (Beta, (0.0, 10, 0.0, 2, True)),
        (Beta, (1.0, -1, 0.0, 2, True)),
    ],
)
def test_what_cannot_be_trained_is_refused_with_what_to_type(objective, arguments):
    with pytest.raises(ValueError, match=r"Try |must be "):
        objective(*arguments)
