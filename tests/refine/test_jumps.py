"""What jumps of log p(x, z) hide from a gradient, where it is known."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.families.low_rank_gaussian import LowRankGaussian
from avi.families.mixture_of_gaussians import MixtureOfGaussians
from avi.refine.jumps import PATHS, hidden
from avi.types import Local, Target

KEYS = jax.random.split(jax.random.key(0), 400)
FAMILIES = [
    DiagonalGaussian(2),
    FullRankGaussian(2),
    MixtureOfGaussians(2, 3),
    LowRankGaussian(2, 1),
]


def values(log_joint, family, lam, keys=KEYS):
    model = SimpleNamespace(log_joint=lambda theta, x, z: log_joint(z))
    local = Local(Target(model, None, None), family, None)
    return np.asarray(jax.jit(jax.vmap(lambda key: hidden(local, lam, key)))(keys))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
@pytest.mark.parametrize(
    "log_joint",
    [
        lambda z: -0.5 * jnp.sum(z**2) + jnp.tanh(z).sum(),
        lambda z: -jnp.abs(z).sum() + jnp.maximum(z, 0.2).sum(),  # kinks do not jump
    ],
    ids=["smooth", "kinks"],
)
def test_a_continuous_density_hides_nothing(family, log_joint):
    lam = family.init() + 0.1 * jax.random.normal(jax.random.key(1), (family.num_params,))
    assert values(log_joint, family, lam, KEYS[:20]).max() < 0.003


@pytest.mark.parametrize("height", [0.5, 2.0])
@pytest.mark.parametrize("place", [0.0, 1.0])
def test_a_step_hides_half_its_variance(height, place):
    """Of j = height [z > place], p = P(z > place): height^2 p (1 - p) / 2; z-score below 4.75."""
    family = DiagonalGaussian(1)
    found = values(
        lambda z: -0.5 * jnp.sum(z**2) + height * jnp.sum(z > place), family, family.init()
    )
    share = jax.scipy.special.ndtr(-place)
    error = found.std(ddof=1) / len(found) ** 0.5
    assert abs(found.mean() - height**2 * share * (1 - share) / 2) < 4.75 * error
    assert error < height**2 / PATHS**0.5 / 10


def test_what_a_gradient_lacks_is_less_than_what_is_hidden():
    """Of a step at 0 the slope of the ELBO in the mean is height * phi(0), the gradient's is 0."""
    height, family = 2.0, DiagonalGaussian(1)
    found = values(lambda z: height * jnp.sum(z > 0), family, family.init())
    assert 0.5 * (height * 0.39894) ** 2 < found.mean()


def test_what_is_no_number_is_not_nothing():
    family = DiagonalGaussian(1)
    holes = values(lambda z: jnp.where(z[0] > 0.5, -jnp.inf, 0.0), family, family.init())
    assert not np.any(holes <= 1.0)
