"""Families: densities, draws, entropies, divergences and natural steps against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avi.families.categorical import Categorical
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian

GAUSSIANS = [DiagonalGaussian(2), FullRankGaussian(2)]
FAMILIES = [*GAUSSIANS, DiagonalGaussian(1), FullRankGaussian(3), Categorical(4)]

NATURAL_STEP = jax.jit(
    lambda family, lam, gradient, rate: family.natural_step(lam, gradient, rate), static_argnums=0
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def some_lam(family, seed=0):
    """Return a member that is not the start: correlated, shifted, with unequal scales."""
    return 0.5 * jax.random.normal(jax.random.key(seed), (family.num_params,))


def hermite(num_nodes, size):
    """Return nodes [n, size] and weights [n] that integrate polynomials against N(0, I)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    weights = weights / weights.sum()
    grids = np.meshgrid(*[nodes] * size, indexing="ij")
    products = np.prod(np.meshgrid(*[weights] * size, indexing="ij"), axis=0)
    return np.stack([grid.ravel() for grid in grids], axis=1), products.ravel()


def moments(family, lam):
    """Return mean and covariance of a Gaussian member, exact by five-point quadrature."""
    nodes, weights = hermite(5, family.latent.size)
    z = np.asarray(jax.vmap(lambda eps: family.transport(lam, eps))(nodes))
    mean = weights @ z
    return mean, (z - mean).T @ ((z - mean) * weights[:, None])


@pytest.mark.parametrize("family", GAUSSIANS, ids=repr)
def test_a_gaussian_density_integrates_to_one(family):
    # A trapezoid on a smooth density that vanishes at the ends errs by less than exp(-50).
    grid = np.linspace(-20, 20, 401)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    density = np.exp(jax.vmap(lambda z: family.log_prob(some_lam(family), z))(points))
    np.testing.assert_allclose(density.sum() * (grid[1] - grid[0]) ** 2, 1, rtol=1e-10)


@pytest.mark.parametrize("family", GAUSSIANS, ids=repr)
def test_entropy_is_the_mean_of_minus_log_q(family):
    lam = some_lam(family)
    nodes, weights = hermite(5, 2)  # log q is quadratic in z: five nodes are exact

    def log_q(eps):
        return family.log_prob(lam, family.transport(lam, eps))

    expected = -weights @ np.asarray(jax.vmap(log_q)(nodes))
    np.testing.assert_allclose(family.entropy(lam, jnp.zeros(2)), expected, rtol=1e-12)


def test_entropy_of_a_category_is_the_sum_over_all():
    family = Categorical(4)
    lam = some_lam(family)
    probability = np.asarray(family.mean(lam))
    expected = -np.sum(probability * np.log(probability))
    np.testing.assert_allclose(family.entropy(lam, jnp.int32(0)), expected, rtol=1e-13)


@pytest.mark.parametrize("family", GAUSSIANS, ids=repr)
def test_divergence_from_the_standard_normal_is_that_of_its_moments(family):
    lam = some_lam(family)
    mean, covariance = moments(family, lam)
    expected = 0.5 * (np.trace(covariance) + mean @ mean - 2 - np.linalg.slogdet(covariance)[1])
    np.testing.assert_allclose(family.kl_to_standard_normal(lam), expected, rtol=1e-12)
    np.testing.assert_allclose(family.standard_deviation(lam) ** 2, np.diag(covariance), rtol=1e-12)


def test_full_rank_and_diagonal_agree_where_the_covariance_is_diagonal():
    diagonal, full = DiagonalGaussian(3), FullRankGaussian(3)
    lam = some_lam(diagonal)
    same = jnp.concatenate([lam, jnp.zeros(3)])
    z = jnp.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(diagonal.log_prob(lam, z), full.log_prob(same, z), rtol=1e-13)
    gradient = jax.grad(diagonal.kl_to_standard_normal)(lam)
    expected = diagonal.natural_step(lam, -gradient, 0.3)
    got = full.natural_step(same, -jax.grad(full.kl_to_standard_normal)(same), 0.3)
    np.testing.assert_allclose(got, jnp.concatenate([expected, jnp.zeros(3)]), atol=1e-13)


def test_join_and_split_are_inverse():
    family = FullRankGaussian(4)
    lam = some_lam(family)
    np.testing.assert_allclose(family.join(*family.split(lam)), lam, rtol=1e-14)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_a_natural_step_of_rate_zero_stays(family):
    lam = some_lam(family)
    gradient = jax.random.normal(jax.random.key(3), lam.shape)
    np.testing.assert_allclose(family.natural_step(lam, gradient, 0.0), lam, atol=1e-14)


@given(seed=st.integers(0, 10_000), size=st.floats(0.01, 1e4), rate=st.floats(0.01, 1.0))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_a_natural_step_ends_at_a_member_whatever_the_noise(family, seed, size, rate):
    lam_key, gradient_key = jax.random.split(jax.random.key(seed))
    lam = jax.random.normal(lam_key, (family.num_params,))
    gradient = size * jax.random.normal(gradient_key, lam.shape)
    assert np.isfinite(NATURAL_STEP(family, lam, gradient, rate)).all()


@pytest.mark.parametrize("family", [*GAUSSIANS, Categorical(4)], ids=repr)
def test_a_small_natural_step_climbs_at_the_rate_of_the_fisher_norm(family):
    # Along F^-1 g a bound rises by g' F^-1 g: the step is the inverse Fisher matrix at work.
    lam = some_lam(family)
    gradient = jax.random.normal(jax.random.key(4), lam.shape)
    if family.latent.space == "category":
        points = family.points()
        weights = np.asarray(family.mean(lam))
        gradient = gradient - gradient.mean()  # a gradient along the softmax's flat direction is 0
    else:
        nodes, weights = hermite(5, 2)
        points = jax.vmap(lambda eps: family.transport(lam, eps))(nodes)
    scores = np.asarray(jax.vmap(lambda z: jax.grad(family.log_prob)(lam, z))(points))
    fisher = scores.T @ (scores * weights[:, None])
    expected = np.linalg.pinv(fisher, rcond=1e-12) @ np.asarray(gradient)
    moved = (family.natural_step(lam, gradient, 1e-6) - lam) / 1e-6
    if family.latent.space == "category":
        moved = moved - moved.mean()
        expected = expected - expected.mean()
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-4)


def test_a_natural_step_has_a_derivative_where_all_variances_are_equal():
    # Semi-amortized training differentiates the step, and begins at N(0, I).
    family = FullRankGaussian(3)
    climb = jax.grad(lambda lam: -family.kl_to_standard_normal(lam))

    def moved(lam):
        return family.natural_step(lam, climb(lam), 0.2)

    start, h = family.init(), 1e-6
    derivative = jax.jacobian(moved)(start)
    differences = [
        (moved(start + h * e) - moved(start - h * e)) / (2 * h) for e in np.eye(start.size)
    ]
    np.testing.assert_allclose(derivative, np.stack(differences, axis=1), atol=1e-8)


@pytest.mark.parametrize("precision", [1e-3, 1.0, 1e3])
def test_natural_steps_keep_float32_finite(precision):
    with jax.enable_x64(False):
        family = FullRankGaussian(4)
        gradient = precision * 1e3 * jax.random.normal(jax.random.key(0), (family.num_params,))
        lam = family.init()
        for _ in range(5):
            lam = family.natural_step(lam, gradient, 1.0)
            assert np.isfinite(lam).all()


def test_a_family_refuses_an_empty_latent():
    for family in (DiagonalGaussian, FullRankGaussian):
        with pytest.raises(ValueError, match="latent_size must be 1 or more; got 0"):
            family(0)
    with pytest.raises(ValueError, match="latent_size must be 2 or more; got 1"):
        Categorical(1)
