"""Abilities: what a component needs, what a pair offers, and the words where they do not meet."""

import importlib
import pkgutil
from dataclasses import dataclass

import pytest

import avi
from avi.abilities import ClosedForm, Coordinate, Tractable, explained, missing, offers
from avi.config.schema import COMPONENT_PACKAGES, check
from avi.errors import ConfigError
from avi.families.categorical import Categorical
from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.models.gaussian_mixture import GaussianMixture
from avi.models.lda import LDA
from avi.models.linear_gaussian import LinearGaussian
from avi.models.poisson_lognormal import PoissonLogNormal
from avi.problem import require
from avi.refine.auto import Auto
from avi.refine.coordinate import CoordinateAscent
from avi.types import Evidence, Latent, Network, Objective, Refine

LINEAR, GAUSSIAN = LinearGaussian(2, "shared", 1e-3), DiagonalGaussian(2)
COUNTS = PoissonLogNormal(2)
CHOOSERS = {
    Objective: {"_target_": "avi.objectives.elbo.Elbo", "num_samples": 1, "antithetic": False},
    Evidence: {
        "_target_": "avi.evidence.auto.FirstThatFits",
        "candidates": [{"_target_": "avi.evidence.none.NoEvidence"}],
    },
    Refine: {
        "_target_": "avi.refine.auto.Auto",
        "steps": 3,
        "tolerance": 0.1,
        "optimizer": {"_target_": "optax.sgd", "learning_rate": 0.1},
        "average": False,
    },
    Network: {
        "_target_": "avi.networks.auto.Auto",
        "width": 3,
        "widths": [2],
        "activation": "tanh",
        "output_scale": 1.0,
    },
}


@dataclass(frozen=True)
class Demanding:
    """A component of which a setting decides what it needs."""

    exact: bool

    @property
    def needs(self):
        return (Tractable,) if self.exact else ()


@dataclass(frozen=True)
class Broad(LinearGaussian):
    """A plug-in whose closed form is claimed for every family, as it does not say for which."""

    def elbo(self, theta, x, family, lam):
        return 0.0


class Bare:
    """A family that offers nothing."""

    def __init__(self, space="real"):
        self.latent = Latent(space, 2)


class Own:
    """An ability that somebody else named and did not explain."""


def needed():
    """Yield every ability that a component of avi needs."""
    for package in COMPONENT_PACKAGES:
        for info in pkgutil.iter_modules([f"{avi.__path__[0]}/{package}"]):
            module = importlib.import_module(f"avi.{package}.{info.name}")
            for value in vars(module).values():
                if isinstance(value, type) and isinstance(vars(value).get("needs"), tuple):
                    yield from value.needs


def test_every_ability_that_is_needed_says_what_it_is_and_what_to_type():
    found = set(needed())
    assert len(found) > 8
    for need in found:
        words, instead, _ = explained(need)
        assert words.startswith(("a model ", "a family ", "a latent "))
        assert instead.startswith("Try ")


@pytest.mark.parametrize("need", [ClosedForm, Coordinate])
@pytest.mark.parametrize(
    ("model", "family", "expected"),
    [
        (LDA(3, 0.3, 0.1, 0, "posterior"), Dirichlet(3), True),
        (LDA(3, 0.3, 0.1, 0, "posterior"), Bare("simplex"), False),
        (GaussianMixture(3, 1.0, 1.0, 1.0, 1.0), Categorical(3), True),
        (GaussianMixture(3, 1.0, 1.0, 1.0, 1.0), Bare("category"), False),
    ],
)
def test_closed_forms_are_those_of_a_pair(need, model, family, expected):
    assert offers(need, model, family) is expected


def test_the_closed_form_of_counts_is_that_of_gaussians():
    assert offers(ClosedForm, COUNTS, GAUSSIAN)
    assert offers(ClosedForm, COUNTS, FullRankGaussian(2))
    assert not offers(ClosedForm, COUNTS, Bare())
    assert not offers(Coordinate, COUNTS, GAUSSIAN)


def test_a_model_that_does_not_say_for_which_families_claims_its_closed_form_for_all():
    assert offers(ClosedForm, Broad(2, "shared", 1e-3), Bare())


def test_needs_may_depend_on_a_setting():
    require(Demanding(exact=False), COUNTS, GAUSSIAN)
    require(Demanding(exact=True), LINEAR, GAUSSIAN)
    with pytest.raises(ConfigError, match="exact log evidence; got PoissonLogNormal with Diagonal"):
        require(Demanding(exact=True), COUNTS, GAUSSIAN)


def test_an_ability_of_a_plug_in_is_named_where_it_is_missing():
    @dataclass(frozen=True)
    class Wants:
        needs = (Own,)

    assert missing(Wants(), LINEAR, GAUSSIAN) == [Own]
    with pytest.raises(ConfigError, match="Wants needs the ability Own; got LinearGaussian"):
        require(Wants(), LINEAR, GAUSSIAN)


@pytest.mark.parametrize("place", CHOOSERS)
@pytest.mark.parametrize("given", CHOOSERS)
def test_a_component_that_chooses_stands_only_where_what_it_chooses_may(place, given):
    if place is given:
        check(CHOOSERS[given], place, "here")
    else:
        with pytest.raises(ConfigError, match="here: .* does not fit here"):
            check(CHOOSERS[given], place, "here")


def test_what_a_refinement_needs_is_checked_after_the_choice():
    updates = CoordinateAscent(3, 0.1)
    with pytest.raises(ConfigError, match=r"coordinate updates of lam; .* Try refine=adam"):
        require(updates, COUNTS, GAUSSIAN)
    require(Auto(3, 0.1, None, average=False), COUNTS, GAUSSIAN)
