"""One word for two local optimisers: which it stands for follows from model and family."""

import optax
import pytest

from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import DiagonalGaussian
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.inference.refined import Refined
from avi.models.lda import LDA
from avi.models.linear_gaussian import LinearGaussian
from avi.networks.mlp import MLP
from avi.problem import fit
from avi.refine.ascent import Ascent
from avi.refine.auto import Auto
from avi.refine.coordinate import CoordinateAscent
from avi.types import Latent

STEPS, TOLERANCE, SGD = 7, 1e-3, optax.sgd(0.05)
AUTO, ASCENT = Auto(STEPS, TOLERANCE, SGD, average=True), Ascent(SGD, STEPS, average=True)
DOCUMENTS = LDA(3, 0.3, 0.1, 0, "posterior")
VECTORS = LinearGaussian(2, "diagonal", 1e-6), DiagonalGaussian(2)


class OnTheSimplex:
    """A family for which the model has no updates."""

    latent = Latent("simplex", 3)


def test_auto_is_coordinate_ascent_where_the_model_has_it_else_gradient_ascent():
    assert fit(AUTO, DOCUMENTS, Dirichlet(3)) == CoordinateAscent(STEPS, TOLERANCE)
    assert fit(AUTO, *VECTORS) == ASCENT


def test_auto_is_gradient_ascent_where_the_updates_of_the_model_are_not_those_of_the_family():
    assert fit(AUTO, DOCUMENTS, OnTheSimplex()) == ASCENT


def test_auto_is_chosen_inside_a_mode_too():
    encoder = Amortized(MLP((), "tanh", 1.0))
    for refine, expected in ((AUTO, ASCENT), (ASCENT, ASCENT)):
        assert fit(FreeForm(refine), *VECTORS) == FreeForm(expected)
        mode = Refined(encoder, refine, backprop=True)
        assert fit(mode, *VECTORS) == Refined(encoder, expected, backprop=True)


@pytest.mark.parametrize(("steps", "tolerance"), [(0, 1e-3), (5, -1.0)])
def test_auto_refuses_what_either_would_refuse(steps, tolerance):
    with pytest.raises(ValueError, match="must be"):
        Auto(steps, tolerance, SGD, average=False)
