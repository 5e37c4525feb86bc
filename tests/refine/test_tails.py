"""What the tails of q hold of a bound, where it is known."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.families.mixture_of_gaussians import MixtureOfGaussians
from avi.families.student_t import StudentT
from avi.objectives.elbo import ClosedFormElbo, Pathwise
from avi.refine.tails import unseen
from avi.types import Local, Target

KEYS = jax.random.split(jax.random.key(0), 5)
DRAWING = Pathwise(2, antithetic=True)


def found(log_joint, family, lam=None, objective=DRAWING):
    model = SimpleNamespace(log_joint=lambda theta, x, z: log_joint(z))
    local = Local(Target(model, None, None), family, objective)
    lam = family.init() if lam is None else lam
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: unseen(local, lam, key)))(KEYS))


def standard(z):
    return -0.5 * jnp.sum(z**2)


@pytest.mark.parametrize(
    "family", [DiagonalGaussian(3), FullRankGaussian(2), MixtureOfGaussians(2, 3)], ids=repr
)
def test_a_quartic_hides_nothing(family):
    """x ~ N(z^2, 0.3^2) seen from its prior: 0 but for rounding."""
    values = found(lambda z: standard(z) - jnp.sum((1 - z**2) ** 2) / 0.18, family)
    assert values.value.max() < 1e-3
    assert values.decrement.max() < 1e-3


@pytest.mark.parametrize(
    "log_likelihood",
    [
        lambda z: -jnp.abs(z).sum(),
        lambda z: -jnp.maximum(z - 1, 0.0).sum(),
        lambda z: -jnp.log1p(z**2).sum(),
        lambda z: -jnp.exp(z).sum(),  # a Poisson rate
    ],
    ids=["kink", "hinge", "cauchy", "poisson"],
)
def test_what_bends_gently_hides_next_to_nothing(log_likelihood):
    assert found(lambda z: standard(z) + log_likelihood(z), DiagonalGaussian(2)).decrement.max() < (
        0.005
    )


def test_a_steep_rate_is_seen_where_no_draw_falls():
    """E exp(8 z - 30) = exp(2) under N(0, 1), from draws around 8."""
    values = found(lambda z: standard(z) - jnp.exp(8 * z[0] - 30), DiagonalGaussian(1))
    np.testing.assert_allclose(values.value, np.exp(2), rtol=1e-3)
    # d E / d mean = 8 exp(2), d E / d log s = 64 exp(2), less what lies within 3.
    np.testing.assert_allclose(values.decrement, 0.5 * ((8**2) + 64**2 / 2) * np.exp(4), rtol=1e-2)


@pytest.mark.parametrize("size", [1, 3])
def test_a_cliff_beyond_the_draws_hides_its_share(size):
    """-h [z > 3.5]: h P(z > 3.5)."""
    place, height = 3.5, 100.0
    values = found(
        lambda z: standard(z) - height * jax.nn.sigmoid(200 * (z[0] - place)),
        DiagonalGaussian(size),
    )
    np.testing.assert_allclose(values.value, height * norm.sf(place), rtol=0.3)  # 24 nodes
    assert values.decrement.min() > 0.01


@pytest.mark.parametrize(
    ("log_joint", "family"),
    [
        (lambda z: jnp.where(jnp.abs(z[0]) < 6, standard(z), -jnp.inf), DiagonalGaussian(1)),
        (lambda z: standard(z) - jnp.exp(z[0]), StudentT(1, 5.0)),  # E exp(z) is infinite
    ],
    ids=["no density beyond 6", "heavier than the density allows"],
)
def test_a_mean_that_does_not_exist_is_no_small_number(log_joint, family):
    values = found(log_joint, family)
    assert not np.any(values.value <= 1.0)
    assert not np.any(values.decrement <= 1.0)


def test_a_bound_without_draws_has_no_tails_that_they_miss():
    values = found(
        lambda z: standard(z) - jnp.exp(8 * z[0] - 30),
        DiagonalGaussian(1),
        objective=ClosedFormElbo(),
    )
    assert values.value.max() == 0
    assert values.decrement.max() == 0
