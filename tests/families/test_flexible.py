"""Families beyond one Gaussian: densities, and posteriors that they hold exactly."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from avi.abilities import given
from avi.families.autoregressive_flow import AutoregressiveFlow
from avi.families.auxiliary import Auxiliary
from avi.families.coupling_flow import CouplingFlow
from avi.families.gaussian import DiagonalGaussian
from avi.families.localised import Localised
from avi.families.low_rank_gaussian import LowRankGaussian
from avi.families.mixture_of_gaussians import MixtureOfGaussians
from avi.families.planar_flow import PlanarFlow
from avi.families.splines import num_numbers, spline
from avi.families.student_t import StudentT
from avi.families.top_down import TopDown
from avi.models.linear_gaussian import LinearGaussian
from avi.objectives.moment_matched import MomentMatched
from avi.refine.ascent import Ascent
from avi.types import Latent
from avi.verify.bench import Bench, adam

AFFINE = CouplingFlow(2, 1, "shared", layers=2, width=6, transform="affine")
SPLINE = CouplingFlow(2, 0, "shared", layers=2, width=6, transform="spline")
AUTOREGRESSIVE = AutoregressiveFlow(2, 1, "shared", layers=2, width=6)
PLANAR = PlanarFlow(2, 1, "shared", layers=2)
TOP_DOWN = TopDown(2, 1, "shared", width=6, sizes=(1, 1))
FLOWS = [AFFINE, SPLINE, AUTOREGRESSIVE, PLANAR, TOP_DOWN, Localised(AFFINE)]
GRID = np.linspace(-16, 16, 641)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def somewhere(family, seed=0):
    """Return a flow at weights that bend, and a lam."""
    keys = jax.random.split(jax.random.key(seed))
    if hasattr(family, "init_psi"):
        psi = family.init_psi(keys[0])
        moved = [0.25 * jax.random.normal(keys[0], leaf.shape) for leaf in jax.tree.leaves(psi)]
        family = given(family, jax.tree.unflatten(jax.tree.structure(psi), moved))
    return family, family.init() + 0.3 * jax.random.normal(keys[1], (family.num_params,))


@pytest.mark.parametrize("family", [*FLOWS, LowRankGaussian(2, 1), MixtureOfGaussians(2, 3)])
def test_a_density_integrates_to_one(family):
    # Smooth, and 0 at the ends; the spline has kinks in its second derivative, hence 1e-4.
    family, lam = somewhere(family)
    points = np.stack(np.meshgrid(GRID, GRID), axis=-1).reshape(-1, 2)
    log_prob = jax.jit(jax.vmap(lambda z: family.log_prob(lam, z)))
    total = np.exp(log_prob(points)).sum() * (GRID[1] - GRID[0]) ** 2
    np.testing.assert_allclose(total, 1, rtol=1e-4)


@pytest.mark.parametrize("family", FLOWS)
def test_log_q_in_passing_is_that_of_the_jacobian(family):
    family, lam = somewhere(family)
    eps = jax.random.normal(jax.random.key(3), (2,))
    z, log_q = family.transport_and_log_prob(lam, eps)
    jacobian = jax.jacobian(lambda eps: family.transport(lam, eps))(eps)
    expected = jax.scipy.stats.norm.logpdf(eps).sum() - jnp.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(log_q, expected, rtol=1e-10)
    np.testing.assert_allclose(family.log_prob(lam, z), expected, rtol=1e-8)


@pytest.mark.parametrize("family", FLOWS[:-1])
def test_a_flow_begins_as_the_gaussian_of_its_location_and_scale(family):
    family = given(family, family.init_psi(jax.random.key(0)))
    lam = family.member(jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0]))
    gaussian = DiagonalGaussian(2)
    z = jnp.array([0.3, 1.5])
    expected = gaussian.log_prob(lam[:4], z)
    np.testing.assert_allclose(family.log_prob(lam, z), expected, rtol=1e-10)


def test_a_spline_is_its_inverse_undone_and_its_slope_is_its_derivative():
    numbers = jax.random.normal(jax.random.key(1), (num_numbers(5),))
    for value in (-5.0, -3.9, -0.3, 0.0, 1.7, 3.99, 6.0):
        moved, log_slope = spline(numbers, jnp.asarray(value))
        back, same = spline(numbers, moved, inverse=True)
        derivative = jax.grad(lambda value: spline(numbers, value)[0])(value)
        np.testing.assert_allclose(back, value, atol=1e-9)
        np.testing.assert_allclose([log_slope, same], np.log(derivative), atol=1e-8)


def test_a_low_rank_gaussian_has_the_precision_of_a_diagonal_and_its_directions():
    family, lam = somewhere(LowRankGaussian(4, 2))
    mean, root = family.affine(lam)
    eps = jax.random.normal(jax.random.key(2), (4,))
    np.testing.assert_allclose(family.transport(lam, eps), mean + root @ eps, rtol=1e-12)
    deviation = jnp.sqrt(jnp.diag(root @ root.T))
    np.testing.assert_allclose(family.standard_deviation(lam), deviation, rtol=1e-12)
    scaled = jnp.linalg.inv(root / jnp.exp(lam[4:8])[:, None])
    beyond = np.linalg.svd(scaled.T @ scaled - np.eye(4), compute_uv=False)
    assert np.all(beyond[2:] < 1e-10)
    assert np.all(beyond[:2] > 1e-3)


@dataclass(frozen=True)
class Crescent:
    """A posterior without data: log p(x, z) = log N(z_1; 0, 1) + log N(z_2; z_1^2 / 2, 0.3^2)."""

    support = "real"
    latent = Latent("real", 2)

    def log_joint(self, theta, x, z):
        """Return the log density of the banana."""
        bent = (z[1] - 0.5 * z[0] ** 2) / 0.3
        return -0.5 * (z[0] ** 2 + bent**2) - jnp.log(2 * jnp.pi * 0.3)

    def log_prior(self, theta):
        """Return 0."""
        return jnp.zeros(())


@dataclass(frozen=True)
class Hills(Crescent):
    """Two Gaussian hills, of weights 0.7 and 0.3."""

    apart: float = 2.0

    def log_joint(self, theta, x, z):
        """Return the log density of the mixture."""
        places = self.apart * jnp.array([[-1.0, 0.0], [1.0, 0.5]])
        each = -0.5 * jnp.sum((z - places) ** 2, axis=1) / 0.25 - jnp.log(2 * jnp.pi * 0.25)
        return jax.nn.logsumexp(jnp.log(jnp.array([0.7, 0.3])) + each)


def best_gap(model, family, theta, rows, evidence, steps=2500):
    """Return evidence - ELBO at the lam* of every row, on moment-matched draws."""
    bench, objective = Bench(model, theta, rows), MomentMatched(256)
    refine = Ascent(adam(0.05, steps), steps, average=False)
    lams = bench.lams(family, refine, MomentMatched(64))
    return evidence - bench.bounds_at(family, lams, objective)


@pytest.mark.slow
def test_a_banana_is_reached_by_a_coupling_flow():
    family = Localised(CouplingFlow(2, 0, "shared", layers=3, width=32, transform="affine"))
    gap = best_gap(Crescent(), family, {}, np.zeros((1, 1)), 0.0)
    gaussian = best_gap(Crescent(), DiagonalGaussian(2), {}, np.zeros((1, 1)), 0.0)
    assert abs(gap[0]) < 0.01 < 0.3 < gaussian[0]


@pytest.mark.slow
def test_two_hills_are_held_by_a_mixture():
    gap = best_gap(Hills(), MixtureOfGaussians(2, 2), {}, np.zeros((1, 1)), 0.0)
    gaussian = best_gap(Hills(), DiagonalGaussian(2), {}, np.zeros((1, 1)), 0.0)
    assert abs(gap[0]) < 0.01 < 0.3 < gaussian[0]


@pytest.mark.slow
def test_a_posterior_with_one_correlated_direction_is_held_by_rank_one():
    # One observed number: the posterior precision is I and one direction more.
    model = LinearGaussian(3, "shared", 1e-6)
    theta = {
        "weight": jnp.array([[1.0, -2.0, 0.5]]),
        "mean": jnp.zeros(1),
        "log_scale": jnp.log(0.3),
    }
    rows = np.array([[1.5], [-0.2]])
    evidence = np.array([model.log_evidence(theta, x) for x in jnp.asarray(rows)])
    gap = best_gap(model, LowRankGaussian(3, 1), theta, rows, evidence)
    gaussian = best_gap(model, DiagonalGaussian(3), theta, rows, evidence)
    assert np.all(np.abs(gap) < 1e-3)
    assert np.all(gaussian > 0.3)


def test_what_stands_for_log_q_of_a_family_with_auxiliary_variables_is_a_bound():
    # The sum over v of q(z, v) exp(-it) is 1 for every z, so that its mean is above that of log q.
    flow = CouplingFlow(2, 1, "shared", layers=2, width=4, transform="affine")
    family, lam = somewhere(Auxiliary(1, 1, 4, 1, flow))
    own, context = lam[:-1], lam[-1:]
    over_both = given(flow, family.psi["flow"])
    for z in (-0.4, 0.7):

        def stands_for(v, z=z):
            both = jnp.array([z, v])
            return both, over_both.log_prob(own, both)

        both, log_q = jax.vmap(stands_for)(GRID)
        reverse = jax.vmap(lambda both: family.log_reverse(context, both[:1], both[1:]))(both)
        total = jnp.exp(log_q - (log_q - reverse)).sum() * (GRID[1] - GRID[0])
        np.testing.assert_allclose(total, 1, rtol=1e-4)
    eps = jax.random.normal(jax.random.key(3), (2,))
    both, log_q = over_both.transport_and_log_prob(own, eps)
    expected = log_q - family.log_reverse(context, both[:1], both[1:])
    z, got = family.transport_and_log_prob(lam, eps)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_array_equal(z, both[:1])


@pytest.mark.slow
def test_two_hills_are_told_apart_by_an_auxiliary_variable():
    flow = CouplingFlow(3, 0, "shared", layers=4, width=16, transform="affine")
    family = Localised(Auxiliary(2, 1, 16, 0, flow))
    gap = best_gap(Hills(1.0), family, {}, np.zeros((1, 1)), 0.0)
    gaussian = best_gap(Hills(1.0), DiagonalGaussian(2), {}, np.zeros((1, 1)), 0.0)
    # 256 draws know the mean of log w, whose deviation is about 0.2, to some 0.01.
    assert abs(gap[0]) < 0.05 < 0.2 < gaussian[0]


@pytest.mark.slow
def test_a_correlated_posterior_is_held_by_a_layer_below_another():
    # Linear in the layer above: the density of any Gaussian of two numbers.
    model = LinearGaussian(2, "shared", 1e-6)
    theta = {
        "weight": jnp.array([[1.0, -2.0], [0.5, 1.0]]),
        "mean": jnp.zeros(2),
        "log_scale": jnp.log(0.5),
    }
    rows = np.array([[1.5, 0.3], [-0.2, 1.0]])
    evidence = np.array([model.log_evidence(theta, x) for x in jnp.asarray(rows)])
    family = Localised(TopDown(2, 0, "shared", width=1, sizes=(1, 1)))
    gap = best_gap(model, family, theta, rows, evidence)
    gaussian = best_gap(model, DiagonalGaussian(2), theta, rows, evidence)
    assert np.all(np.abs(gap) < 1e-3)
    assert np.all(gaussian > 0.1)


def test_student_draws_are_those_of_the_distribution():
    family = StudentT(1, 4.0)
    draws = jax.vmap(lambda key: family.sample(jnp.zeros(2), key))(
        jax.random.split(jax.random.key(0), 20_000)
    )
    # Kolmogorov and Smirnov's test fails once in a million.
    assert scipy.stats.kstest(np.ravel(draws), scipy.stats.t(4.0).cdf).pvalue > 1e-6
    lam, z = jnp.array([0.3, -0.5]), jnp.array([1.7])
    expected = scipy.stats.t(4.0, 0.3, np.exp(-0.5))
    np.testing.assert_allclose(family.log_prob(lam, z), expected.logpdf(1.7), rtol=1e-10)
    np.testing.assert_allclose(family.entropy(lam, z), expected.entropy(), rtol=1e-10)


@dataclass(frozen=True)
class Shift:
    """N(psi, 1): a family that is all weights."""

    psi: object = None
    latent = Latent("real", 1)
    num_params = 0

    def init(self):
        """Return the empty lam."""
        return jnp.zeros(0)

    def init_psi(self, key):
        """Return the place 0."""
        return {"place": jnp.zeros(1)}

    def given(self, psi):
        """Return the family at this place."""
        return Shift(psi)

    def noise(self, key):
        """Draw eps ~ N(0, 1)."""
        return jax.random.normal(key, (1,))

    def transport(self, lam, eps):
        """Return z."""
        return self.psi["place"] + eps

    def log_prob(self, lam, z):
        """Return log q(z)."""
        return jax.scipy.stats.norm.logpdf(z - self.psi["place"]).sum()


@dataclass(frozen=True)
class Around(Crescent):
    """The posterior of a row is N(x, 1), its evidence 1."""

    latent = Latent("real", 1)

    def log_joint(self, theta, x, z):
        """Return log N(z; x, 1)."""
        return jax.scipy.stats.norm.logpdf(z - x).sum()


def test_the_weight_sharing_gap_of_a_case_that_is_known():
    # One place for both rows is best at their mean, and loses (x - mean)^2 / 2 on each; places of
    # their own lose nothing.
    places = np.array([[-1.0], [3.0]])
    bench, objective = Bench(Around(), {}, places), MomentMatched(8)
    shared, own = Shift({"place": jnp.asarray(places.mean(axis=0))}), Localised(Shift())
    sharing = bench.bounds_at(own, places, objective) - bench.bounds_at(
        shared, np.zeros((2, 0)), objective
    )
    np.testing.assert_allclose(sharing, [2.0, 2.0], atol=1e-10)
    np.testing.assert_allclose(bench.bounds_at(own, places, objective), 0, atol=1e-10)
