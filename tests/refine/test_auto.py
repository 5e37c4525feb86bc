"""One word for two local optimisers: which it stands for follows from the model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conjugate.corpora import NUM_TERMS, corpus, seen

from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import DiagonalGaussian
from avi.models.lda import LDA
from avi.models.linear_gaussian import LinearGaussian
from avi.objectives.elbo import AnalyticKL, Exact
from avi.refine.ascent import Ascent
from avi.refine.auto import Auto
from avi.refine.coordinate import CoordinateAscent
from avi.types import Local, Target

STEPS, TOLERANCE, SGD = 7, 1e-3, optax.sgd(0.05)
LDA_3 = LDA(3, 0.3, 0.1, 0, "posterior")
TOPICS = np.random.default_rng(0).gamma(0.5, 1.0, (NUM_TERMS, 3)) + 0.01


def document():
    """Return the problem of a document, which has coordinate updates."""
    x = jax.tree.map(lambda column: column[0], seen(corpus(1)))
    target = Target(LDA_3, {"topics": jnp.asarray(TOPICS, float)}, x)
    return Local(target, Dirichlet(3), Exact())


def vector():
    """Return the problem of a vector, which has none."""
    theta = {"weight": jnp.ones((4, 2)), "mean": jnp.zeros(4), "log_scale": jnp.zeros(4)}
    target = Target(LinearGaussian(2, "diagonal", 1e-6), theta, jnp.arange(4.0))
    return Local(target, DiagonalGaussian(2), AnalyticKL(4, antithetic=False))


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("case", [document, vector])
def test_auto_is_coordinate_ascent_where_the_model_has_it_else_gradient_ascent(case, average):
    local, key = case(), jax.random.key(1)
    coordinate, ascent = CoordinateAscent(STEPS, TOLERANCE), Ascent(SGD, STEPS, average)
    expected = coordinate if case is document else ascent
    auto, start = Auto(STEPS, TOLERANCE, SGD, average), local.family.init()
    np.testing.assert_array_equal(auto(local, start, key), expected(local, start, key))

    def stepped(refine):
        state = refine.init(local, start)
        for number in range(STEPS):
            state = refine.step(local, state, jax.random.key(number))
        return refine.estimate(state)

    np.testing.assert_array_equal(stepped(auto), stepped(expected))


@pytest.mark.parametrize(("steps", "tolerance"), [(0, 1e-3), (5, -1.0)])
def test_auto_refuses_what_either_would_refuse(steps, tolerance):
    with pytest.raises(ValueError, match="must be"):
        Auto(steps, tolerance, SGD, average=False)
