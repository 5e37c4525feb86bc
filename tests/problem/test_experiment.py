"""An experiment refuses a model and data that do not go together, naming both."""

from dataclasses import dataclass, replace

import pytest
from gap.gaussian_case import make_case

from avi.errors import ConfigError
from avi.experiment import HOLDS, _check_data
from avi.families.gaussian import DiagonalGaussian
from avi.models.linear_gaussian import LinearGaussian
from avi.models.vae import VAE
from avi.networks.mlp import MLP

CASE = make_case(DiagonalGaussian(3)).experiment


@dataclass(frozen=True)
class Named(LinearGaussian):
    """A model whose likelihood has the support it is told."""

    told: str

    @property
    def support(self):
        return self.told


class Rows:
    """Data with the support they are told."""

    redraws = False

    def __init__(self, support):
        self.support = support


def check(of_model, of_data):
    model = Named(3, "shared", 1e-3, of_model)
    _check_data(replace(CASE.problem, model=model), Rows(of_data))


@pytest.mark.parametrize(
    ("of_model", "of_data", "name"),
    [("reall", "real", "Named"), ("real", "reall", "Rows"), ("reall", "rael", "Named")],
)
def test_a_support_that_is_not_known_is_refused_with_its_class_and_those_there_are(
    of_model, of_data, name
):
    with pytest.raises(ConfigError) as caught:
        check(of_model, of_data)
    sentence = str(caught.value)
    assert caught.value.exit_code == 2
    assert f"is a density of {of_model} data; these are {of_data}." in sentence
    assert f"The support of {name} is none of {', '.join(HOLDS)}. Try one of them" in sentence


def test_a_support_of_ones_own_holds_its_own_data():
    check("rankings", "rankings")


@pytest.mark.parametrize(
    ("of_model", "of_data", "instead"),
    [
        ("binary", "real", "likelihood=gaussian"),
        ("terms", "real", "dataset=ap, or dataset=corpus dataset.path=<file>"),
        ("real", "terms", "model=lda"),
    ],
)
def test_a_support_that_does_not_hold_the_data_says_what_to_type(of_model, of_data, instead):
    with pytest.raises(ConfigError, match=f"Try {instead}"):
        check(of_model, of_data)


class Together:
    """A likelihood whose entries have no densities of their own."""

    support = "real"


@pytest.mark.parametrize(
    ("of_data", "instead"),
    [("real", "model=vae with likelihood=gaussian"), ("ranks", "a likelihood that has log_probs")],
)
def test_entries_that_may_be_missing_take_a_likelihood_of_each(of_data, instead):
    rows = Rows(of_data)
    rows.masks = True
    model = VAE(3, MLP((), "tanh", 1.0), Together())
    with pytest.raises(ConfigError, match=f"Together has no density of the others.*{instead}"):
        _check_data(replace(CASE.problem, model=model), rows)
    _check_data(CASE.problem, Rows("real"))
