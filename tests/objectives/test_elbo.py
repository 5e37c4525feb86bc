"""The ELBO and its estimators: equal to closed forms, with unbiased gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import closed_forms
from oracles.statistics import assert_mean_is
from plugins.coupling import CouplingFlow

from avi.engine.evaluator import with_draws
from avi.families.categorical import Categorical
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.models.gaussian_mixture import GaussianMixture
from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.models.poisson_lognormal import PoissonLogNormal
from avi.objectives import elbo
from avi.objectives.dreg import DoublyReparametrised
from avi.objectives.elbo import (
    AnalyticKL,
    ClosedFormElbo,
    Elbo,
    Enumerated,
    Pathwise,
    Score,
    StickTheLanding,
)
from avi.objectives.iwae import ImportanceWeighted
from avi.problem import fit
from avi.types import DataSpec, Target

GAUSSIANS = [DiagonalGaussian(2), FullRankGaussian(2)]
ORACLE = closed_forms.linear_gaussian(seed=0, size=3, latent_size=2)
X = np.array([0.5, -1.0, 1.5])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def target():
    """Return the oracle as avi's model at one x."""
    theta = {
        "weight": jnp.asarray(ORACLE.weight),
        "mean": jnp.asarray(ORACLE.mean),
        "log_scale": jnp.log(ORACLE.scale),
    }
    return Target(LinearGaussian(2, "diagonal", 1e-6), theta, jnp.asarray(X))


def some_lam(family):
    return 0.5 * jax.random.normal(jax.random.key(7), (family.num_params,))


def exact_elbo(family, lam):
    """Return the closed form of the bound, differentiable in lam."""
    columns = jax.vmap(lambda eps: family.transport(lam, eps))(jnp.eye(2))
    root = (columns - family.mean(lam)).T
    covariance = root @ root.T
    shift = family.mean(lam) - ORACLE.posterior_mean(X)
    gap = 0.5 * (
        jnp.trace(ORACLE.precision @ covariance)
        + shift @ ORACLE.precision @ shift
        - 2
        - np.linalg.slogdet(ORACLE.precision)[1]
        - jnp.linalg.slogdet(covariance)[1]
    )
    return ORACLE.log_evidence(X) - gap


class Whitened:
    """A family whose `noise` comes from a fixed set with mean 0 and covariance I, draw by draw."""

    def __init__(self, family, draws):
        self._family = family
        self._draws = draws

    def __getattr__(self, name):
        return getattr(self._family, name)

    def noise(self, key):
        return self._draws[jax.random.key_data(key)[-1]]


def whitened(family, monkeypatch, num_samples=8):
    """Return `family` with whitened noise: the mean of a quadratic over it has no error."""
    draws = np.random.default_rng(0).standard_normal((num_samples, 2))
    draws -= draws.mean(axis=0)
    draws = draws @ np.linalg.inv(np.linalg.cholesky(draws.T @ draws / num_samples)).T
    monkeypatch.setattr(
        jax.random, "split", lambda key, number: jax.vmap(jax.random.key)(jnp.arange(number))
    )
    return Whitened(family, jnp.asarray(draws))


@pytest.mark.parametrize("family", GAUSSIANS, ids=repr)
@pytest.mark.parametrize(
    "objective", [Pathwise(8, False), AnalyticKL(8, False), StickTheLanding(8)], ids=repr
)
def test_the_drawn_bound_of_a_quadratic_is_the_closed_form(family, objective, monkeypatch):
    lam = some_lam(family)
    expected = ORACLE.elbo(X, np.asarray(family.mean(lam)), covariance_of(family, lam))
    bound = objective(target(), whitened(family, monkeypatch), lam, jax.random.key(0))
    np.testing.assert_allclose(bound.value, expected, rtol=0, atol=1e-10)


def covariance_of(family, lam):
    root = np.stack([family.transport(lam, e) - family.mean(lam) for e in np.eye(2)], axis=1)
    return root @ root.T


@pytest.mark.parametrize("family", GAUSSIANS, ids=repr)
@pytest.mark.parametrize(
    "objective",
    [
        Pathwise(2, False),
        Pathwise(2, True),
        AnalyticKL(2, False),
        AnalyticKL(2, True),
        StickTheLanding(2),
        Score(4),
    ],
    ids=repr,
)
def test_value_and_gradient_are_unbiased(family, objective):
    lam = some_lam(family)

    def draw(key):
        gradient = jax.grad(lambda lam: objective(target(), family, lam, key).surrogate)(lam)
        return jnp.concatenate([objective(target(), family, lam, key).value[None], gradient])

    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 60_000))
    value, gradient = jax.value_and_grad(lambda lam: exact_elbo(family, lam))(lam)
    # The score estimator is the noisiest; all others would see a bias of 2 % of the gradient.
    detectable = None if isinstance(objective, Score) else 0.02 * float(jnp.abs(gradient).max())
    assert_mean_is(draws[:, 1:], gradient, smallest_detectable=detectable)
    assert_mean_is(draws[:, 0], value)


def test_the_gradient_in_theta_is_unbiased():
    family = GAUSSIANS[0]
    lam, where = some_lam(family), target()

    def drawn(key, objective):
        def bound(theta):
            return objective(where._replace(theta=theta), family, lam, key).surrogate

        return jax.grad(bound)(where.theta)["weight"]

    # d/dW E_q[log p(x | z)] = Psi^-1 ((x - mu) m' - W (m m' + S)).
    mean, covariance = np.asarray(family.mean(lam)), covariance_of(family, lam)
    second = np.outer(mean, mean) + covariance
    expected = (np.outer(X - ORACLE.mean, mean) - ORACLE.weight @ second) / ORACLE.scale[
        :, None
    ] ** 2
    keys = jax.random.split(jax.random.key(2), 20_000)
    for objective in (Pathwise(1, False), AnalyticKL(1, False), StickTheLanding(1), Score(2)):
        draws = jax.jit(jax.vmap(lambda key, objective=objective: drawn(key, objective)))(keys)
        assert_mean_is(draws, expected)


def test_stick_the_landing_has_no_noise_at_the_posterior():
    family = FullRankGaussian(2)
    root = np.linalg.cholesky(np.linalg.inv(ORACLE.precision))
    lam = family.join(jnp.asarray(ORACLE.posterior_mean(X)), jnp.asarray(root))
    bound = jax.jit(
        jax.value_and_grad(
            lambda lam, key: StickTheLanding(1)(target(), family, lam, key).surrogate
        )
    )
    for seed in range(3):
        value, gradient = bound(lam, jax.random.key(seed))
        np.testing.assert_allclose(gradient, 0, atol=1e-12)
        # q is the posterior: every weight is the evidence, with no variance at all.
        np.testing.assert_allclose(value, ORACLE.log_evidence(X), rtol=1e-12)


def test_the_enumerated_bound_is_the_evidence_less_the_divergence():
    family, model = Categorical(3), Mixture(3, "own", 1e-2)
    theta = model.init(jax.random.key(0), DataSpec(jnp.zeros(3), jnp.zeros(3), "real", 10))
    where = Target(model, theta, jnp.asarray(X))
    lam = some_lam(family)
    posterior = jax.nn.softmax(model.log_joints(theta, where.x))
    q = family.mean(lam)
    expected = model.log_evidence(theta, where.x) - jnp.sum(q * (jnp.log(q) - jnp.log(posterior)))
    bound = Enumerated()(where, family, lam, jax.random.key(0))
    np.testing.assert_allclose(bound.value, expected, rtol=1e-12)


def test_the_score_gradient_of_a_category_is_unbiased():
    family, model = Categorical(3), Mixture(3, "own", 1e-2)
    theta = model.init(jax.random.key(0), DataSpec(jnp.zeros(3), jnp.zeros(3), "real", 10))
    where, lam = Target(model, theta, jnp.asarray(X)), some_lam(family)

    def gradient(objective, key):
        return jax.grad(lambda lam: objective(where, family, lam, key).surrogate)(lam)

    keys = jax.random.split(jax.random.key(3), 20_000)
    draws = jax.jit(jax.vmap(lambda key: gradient(Score(3), key)))(keys)
    assert_mean_is(draws, gradient(Enumerated(), keys[0]))


@pytest.mark.parametrize("family", GAUSSIANS, ids=repr)
def test_iwae_of_one_draw_is_the_elbo_draw_by_draw(family):
    lam, key = some_lam(family), jax.random.key(4)
    one = ImportanceWeighted(1)(target(), family, lam, key).value
    same = StickTheLanding(1)(target(), family, lam, key).value
    np.testing.assert_allclose(one, same, rtol=1e-13)


@pytest.mark.parametrize("estimator", [ImportanceWeighted, DoublyReparametrised])
def test_the_iwae_gradient_is_that_of_its_mean(estimator):
    # The exact gradient of E[log mean of 2 weights], by quadrature over the four-dimensional noise.
    family, lam = DiagonalGaussian(2), some_lam(DiagonalGaussian(2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*[nodes] * 4)], axis=1).reshape(-1, 2, 2)
    products = np.prod(np.stack(np.meshgrid(*[weights] * 4)), axis=0).ravel()

    def mean_bound(lam):
        def log_weight(eps):
            z = family.transport(lam, eps)
            where = target()
            return where.model.log_joint(where.theta, where.x, z) - family.log_prob(lam, z)

        log_weights = jax.vmap(jax.vmap(log_weight))(grid)
        return products @ (jax.nn.logsumexp(log_weights, axis=1) - np.log(2))

    def draw(key):
        return jax.grad(lambda lam: estimator(2)(target(), family, lam, key).surrogate)(lam)

    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(5), 60_000))
    expected = jax.jit(jax.grad(mean_bound))(lam)
    assert_mean_is(draws, expected, smallest_detectable=0.03 * float(jnp.abs(expected).max()))


def test_doubly_reparametrised_gradients_are_iwaes_own_in_theta_and_keep_their_signal_in_lam():
    family, number = DiagonalGaussian(2), 1000
    # Near the best member, as an encoder is that has been trained.
    deviation = 1.2 * np.diag(ORACLE.precision) ** -0.5
    lam = jnp.concatenate([ORACLE.posterior_mean(X) + 0.1 * deviation, np.log(deviation)])
    where, key = target(), jax.random.key(6)

    def bound(estimator, theta, lam, key):
        found = estimator(number)(Target(where.model, theta, where.x), family, lam, key)
        return found.surrogate, found.value

    def in_theta(estimator):
        gradient = jax.grad(bound, argnums=1, has_aux=True)
        return gradient(estimator, where.theta, lam, key)

    (one, value), (other, same) = in_theta(ImportanceWeighted), in_theta(DoublyReparametrised)
    np.testing.assert_allclose(value, same, rtol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), one, other)

    def signal(estimator):
        draw = jax.grad(lambda lam, key: bound(estimator, where.theta, lam, key)[0])
        keys = jax.random.split(jax.random.key(7), 400)
        draws = jax.jit(jax.vmap(draw, (None, 0)))(lam, keys)
        return np.abs(draws.mean(0)).max() / draws.std(0).max()

    assert signal(DoublyReparametrised) > 3 * signal(ImportanceWeighted)


def test_a_bound_keeps_its_name_and_its_mean_whatever_the_draws_of_a_report():
    """IWAE-5 on 100 draws is the mean of twenty values of IWAE-5, not IWAE-100."""
    family, lam = DiagonalGaussian(2), some_lam(DiagonalGaussian(2))
    keys = jax.random.split(jax.random.key(8), 4_000)

    def values(objective):
        return jax.jit(jax.vmap(lambda key: objective(target(), family, lam, key).value))(keys)

    few, many = values(ImportanceWeighted(5)), values(with_draws(ImportanceWeighted(5), 100))
    error = np.hypot(few.std(), many.std()) / len(keys) ** 0.5
    assert abs(few.mean() - many.mean()) < 4.75 * error
    np.testing.assert_allclose(few.std() / many.std(), 20**0.5, rtol=0.15)
    assert values(ImportanceWeighted(100)).mean() - few.mean() > 10 * error
    assert with_draws(Pathwise(1, False), 100) == Pathwise(100, False)


class Line:
    """A model and a family whose log weights are the entries of lam that the keys name."""

    def noise(self, key):
        return jax.random.key_data(key)[-1]

    def transport(self, lam, eps):
        return lam[eps]

    def log_prob(self, lam, z):
        return jnp.zeros(())

    def log_joint(self, theta, x, z):
        return z


@jax.jit
def iwae_of(log_weights, kept):
    """Return production's bound for the log weights at `kept`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.random, "split", lambda key, number: jax.vmap(jax.random.key)(kept))
        target = Target(Line(), {}, {})
        return ImportanceWeighted(len(kept))(target, Line(), log_weights, None).value


@given(st.lists(st.floats(-50, 50), min_size=5, max_size=5))
@settings(max_examples=50, deadline=None)
def test_leaving_one_weight_out_never_raises_the_iwae_bound_on_average(log_weights):
    # (1 / k) sum_j log mean_{i != j} w <= log mean w for every set of weights, by Jensen's
    # inequality: the reason why the bound does not fall with k.
    values = np.asarray(log_weights)
    everything = iwae_of(values, np.arange(5))
    left_out = [iwae_of(values, np.delete(np.arange(5), j)) for j in range(5)]
    assert np.mean(left_out) <= everything + 1e-12 * (1 + abs(everything))


def test_iwae_lies_between_the_elbo_and_the_evidence():
    family, lam = DiagonalGaussian(2), some_lam(DiagonalGaussian(2))
    keys = jax.random.split(jax.random.key(6), 20_000)

    def mean(number):
        objective = ImportanceWeighted(number)
        values = jax.jit(jax.vmap(lambda key: objective(target(), family, lam, key).value))(keys)
        return float(values.mean()), float(values.std() / np.sqrt(len(keys)))

    (one, error), (ten, _), (evidence) = mean(1), mean(10), ORACLE.log_evidence(X)
    assert one + 10 * error < ten < evidence
    np.testing.assert_allclose(one, exact_elbo(family, lam), atol=4.75 * error)


def test_elbo_stands_for_the_estimator_with_the_least_variance():
    linear, mixture = LinearGaussian(2, "shared", 1e-3), Mixture(3, "own", 1e-2)
    assert Elbo(4, True).choose(linear, DiagonalGaussian(2)) == AnalyticKL(4, True)
    assert Elbo(4, False).choose(mixture, Categorical(3)) == Enumerated()


def test_a_closed_form_that_is_not_that_of_the_family_gives_way_to_draws():
    counts, elbo = PoissonLogNormal(2), Elbo(4, True)
    assert [fit(elbo, counts, family) for family in GAUSSIANS] == 2 * [ClosedFormElbo()]
    assert fit(elbo, counts, CouplingFlow(2)) == Pathwise(4, True)
    assert fit(elbo, GaussianMixture(3, 1.0, 1.0, 1.0, 1.0), Listed()) == Enumerated()


class Listed:
    """A family over three categories of which nothing but list and density is known."""

    latent = Categorical(3).latent

    def log_prob(self, lam, z):
        return jax.nn.log_softmax(lam)[z]

    def points(self):
        return jnp.arange(3)


def test_the_drawn_bound_of_a_flow_that_is_a_gaussian_is_the_closed_form_of_the_gaussian():
    counts, flow, gaussian = PoissonLogNormal(2), CouplingFlow(2), DiagonalGaussian(2)
    theta = {"weight": jnp.asarray(ORACLE.weight), "mean": jnp.asarray(ORACLE.mean)}
    where, lam = Target(counts, theta, jnp.array([0.0, 3.0, 1.0])), some_lam(gaussian)
    straight = flow.init().at[:4].set(lam)
    drawn = fit(Elbo(2, True), counts, flow)
    keys = jax.random.split(jax.random.key(8), 20_000)
    values = jax.jit(jax.vmap(lambda key: drawn(where, flow, straight, key).value))(keys)
    assert_mean_is(
        values, ClosedFormElbo()(where, gaussian, lam, keys[0]).value, smallest_detectable=0.1
    )


def test_antithetic_draws_are_mirrored():
    noise = elbo.draw_noise(DiagonalGaussian(3), jax.random.key(0), 6, antithetic=True)
    np.testing.assert_array_equal(noise[:3], -noise[3:])
    assert noise.shape == (6, 3)


def test_objectives_refuse_numbers_of_draws_that_they_cannot_use():
    with pytest.raises(ValueError, match=r"Try objective\.num_samples=10"):
        Score(1)
    with pytest.raises(ValueError, match="num_samples must be 1 or more; got 0"):
        Pathwise(0, False)
    with pytest.raises(ValueError, match="Try num_samples=4 or antithetic=false"):
        AnalyticKL(3, True)
    with pytest.raises(ValueError, match="num_samples must be 1 or more; got 0"):
        ImportanceWeighted(0)
