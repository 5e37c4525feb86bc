"""One word for two encoders: which it stands for follows from the data of the model."""

import pytest

from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import DiagonalGaussian
from avi.inference.amortized import Amortized
from avi.likelihoods.bernoulli import Bernoulli
from avi.models.lda import LDA
from avi.models.vae import VAE
from avi.networks.auto import Auto
from avi.networks.bag import BagOfWords
from avi.networks.mlp import MLP
from avi.objectives.elbo import Elbo
from avi.problem import fit, pose

AUTO = Auto(width=8, widths=(5,), activation="tanh", output_scale=0.1)
BAG, LAYERS = BagOfWords(8, (5,), "tanh", 0.1), MLP((5,), "tanh", 0.1)
DECODER = VAE(2, LAYERS, Bernoulli())


def test_auto_reads_bags_where_x_is_a_document_and_numbers_elsewhere():
    documents = LDA(3, 0.3, 0.1, 0, "posterior")
    assert fit(Amortized(AUTO), documents, Dirichlet(3)) == Amortized(BAG)
    assert fit(Amortized(AUTO), DECODER, DiagonalGaussian(2)) == Amortized(LAYERS)


def test_a_decoder_is_chosen_too():
    model, objective = VAE(2, AUTO, Bernoulli()), Elbo(1, antithetic=False)
    assert pose(model, DiagonalGaussian(2), Amortized(AUTO), objective).model == DECODER


@pytest.mark.parametrize(("width", "widths"), [(0, (5,)), (8, (0,))])
def test_auto_refuses_what_either_would_refuse(width, widths):
    with pytest.raises(ValueError, match="must"):
        Auto(width, widths, "tanh", 1.0)
