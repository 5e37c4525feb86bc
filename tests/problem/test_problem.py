"""A problem refuses what does not fit, in a sentence that says what to type."""

from dataclasses import dataclass

import jax.numpy as jnp
import optax
import pytest

from avi.engine.evaluator import with_draws
from avi.errors import ConfigError
from avi.evidence.auto import FirstThatFits
from avi.evidence.exact import Exact
from avi.evidence.none import NoEvidence
from avi.families.categorical import Categorical
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.inference.refined import Refined
from avi.inference.start import Start
from avi.likelihoods.bernoulli import Bernoulli
from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.objectives import elbo
from avi.objectives.iwae import ImportanceWeighted
from avi.optimizers.natural_gradient import NaturalGradient
from avi.problem import Problem, fit, pose, require_shapes
from avi.refine.ascent import Ascent
from avi.types import DataSpec, Latent

ENCODER = Amortized(MLP((), "tanh", 1.0))
LINEAR, MIXTURE = LinearGaussian(2, "shared", 1e-3), Mixture(3, "own", 1e-2)
DECODER = VAE(2, MLP((), "tanh", 1.0), Bernoulli())
GAUSSIAN, CATEGORY = DiagonalGaussian(2), Categorical(3)
PATHWISE = elbo.Pathwise(1, False)


@dataclass(frozen=True)
class Bits(LinearGaussian):
    """A model on a space of its own."""

    @property
    def latent(self):
        return Latent("binary", 6)


@dataclass(frozen=True)
class BitsFamily(DiagonalGaussian):
    """A family on that space."""

    @property
    def latent(self):
        return Latent("binary", 6)


BITS, FAMILY_OF_BITS = Bits(6, "shared", 1e-3), BitsFamily(6)


class Unnatural:
    """A family on R^2 that offers nothing beyond what every family must."""

    def __init__(self):
        self.latent = GAUSSIAN.latent
        self.num_params = 4


@pytest.mark.parametrize(
    ("model", "family", "objective", "words"),
    [
        (LINEAR, CATEGORY, PATHWISE, ["R^2", "3 categories", "Try family=diagonal_gaussian"]),
        (LINEAR, DiagonalGaussian(3), PATHWISE, ["R^3", "R^2", "Try model.latent_size=3"]),
        (BITS, GAUSSIAN, PATHWISE, ["R^2", "'binary' of size 6", "Try a family of your own"]),
        (LINEAR, FAMILY_OF_BITS, PATHWISE, ["'binary' of size 6", "Try family=diagonal_gaussian"]),
        (MIXTURE, GAUSSIAN, PATHWISE, ["R^2", "3 categories", "Try family=categorical"]),
        (MIXTURE, CATEGORY, PATHWISE, ["reparametrised", "objective=score"]),
        (MIXTURE, CATEGORY, ImportanceWeighted(3), ["reparametrised", "objective=elbo"]),
        (MIXTURE, CATEGORY, elbo.AnalyticKL(1, False), ["prior z ~ N(0, I)", "Try"]),
        (LINEAR, GAUSSIAN, elbo.Enumerated(), ["finite space", "Try objective=elbo"]),
        (LINEAR, GAUSSIAN, elbo.ClosedFormElbo(), ["closed form", "Try objective=elbo"]),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_type(model, family, objective, words):
    with pytest.raises(ConfigError) as caught:
        Problem(model, family, ENCODER, objective)
    assert caught.value.exit_code == 2
    assert all(word in str(caught.value) for word in words), caught.value


def test_model_and_family_may_share_a_space_of_their_own():
    assert pose(BITS, FAMILY_OF_BITS, ENCODER, PATHWISE).model == BITS


def test_a_latent_that_differs_is_said_before_what_an_objective_needs():
    with pytest.raises(ConfigError, match="3 categories"):
        pose(LINEAR, CATEGORY, ENCODER, PATHWISE)


def test_the_needs_of_a_nested_optimiser_are_checked():
    natural = Ascent(NaturalGradient(0.5, 1.0, 0.0), steps=3, average=False)
    for mode in (FreeForm(natural), Refined(Start(), natural, backprop=False)):
        Problem(LINEAR, GAUSSIAN, mode, PATHWISE)
        with pytest.raises(ConfigError, match="natural-gradient steps"):
            Problem(LINEAR, Unnatural(), mode, elbo.Score(2))


def test_an_objective_that_stands_for_several_is_replaced_by_the_one_that_fits():
    chosen = pose(LINEAR, GAUSSIAN, ENCODER, elbo.Elbo(3, False)).objective
    assert chosen == elbo.AnalyticKL(3, False)
    assert pose(MIXTURE, CATEGORY, ENCODER, elbo.Elbo(3, False)).objective == elbo.Enumerated()


def test_evidence_is_the_first_that_fits():
    several = FirstThatFits((Exact(), NoEvidence()))
    assert fit(several, LINEAR, GAUSSIAN) == Exact()
    assert fit(several, DECODER, FullRankGaussian(2)) == NoEvidence()
    with pytest.raises(ConfigError, match="Try evidence=none"):
        fit(FirstThatFits((Exact(),)), DECODER, GAUSSIAN)
    with pytest.raises(ConfigError, match="Try evidence=auto"):
        fit(Exact(), DECODER, GAUSSIAN)


def test_draws_of_a_bound_change_only_where_it_draws():
    assert with_draws(PATHWISE, 7) == elbo.Pathwise(7, False)
    assert with_draws(elbo.Enumerated(), 7) == elbo.Enumerated()


def test_problems_are_values():
    # Closed over by compiled functions, they must be hashable and compare by what they are.
    one, other = (Problem(LINEAR, GAUSSIAN, ENCODER, PATHWISE) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


def test_optimisers_that_know_no_family_are_left_as_they_are():
    Problem(LINEAR, GAUSSIAN, FreeForm(Ascent(optax.adam(0.1), 3, average=False)), PATHWISE)


# What a method returns and takes is looked at before anything compiles.

PIXELS = DataSpec(jnp.zeros(4), jnp.full(4, 0.5), "binary", 10)


class WithoutSum(Bernoulli):
    """A likelihood that forgets to add up."""

    def log_prob(self, params, outputs, x):
        return jnp.broadcast_to(super().log_prob(params, outputs, x) / x.size, x.shape)


class PriorPerEntry(LinearGaussian):
    """A log prior for each column."""

    def log_prior(self, theta):
        return jnp.zeros_like(theta["mean"])


PRIOR_PER_ENTRY = PriorPerEntry(2, "shared", 1e-3)


class OtherRows(LinearGaussian):
    """A simulator of other data than these."""

    def sample(self, theta, key, like):
        z, x = super().sample(theta, key, like)
        return z, x[:-1]


class FlatDensity(DiagonalGaussian):
    """log q per coordinate."""

    def log_prob(self, lam, z):
        return jnp.zeros_like(z)


class PerEntry(elbo.Pathwise):
    """A bound per coordinate."""

    def __call__(self, target, family, lam, key):
        bound = super().__call__(target, family, lam, key)
        return type(bound)(bound.value * jnp.ones(2), bound.surrogate)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            (VAE(2, MLP((), "tanh", 1.0), WithoutSum()), GAUSSIAN, ENCODER, PATHWISE),
            "VAE.log_joint",
        ),
        (
            (PriorPerEntry(2, "shared", 1e-3), GAUSSIAN, ENCODER, PATHWISE),
            "PriorPerEntry.log_prior",
        ),
        ((LINEAR, FlatDensity(2), ENCODER, PATHWISE), "FlatDensity.log_prob"),
        ((LINEAR, GAUSSIAN, ENCODER, PerEntry(1, False)), "PerEntry.value"),
    ],
)
def test_a_density_or_bound_that_is_no_number_is_refused(problem, words):
    with pytest.raises(ConfigError, match=rf"^{words} returned .*return \(\.\.\.\)\.sum\(\)"):
        require_shapes(Problem(*problem), PIXELS)


def test_a_simulator_of_other_data_is_refused():
    problem = Problem(OtherRows(2, "shared", 1e-3), GAUSSIAN, ENCODER, PATHWISE)
    with pytest.raises(ConfigError, match=r"OtherRows.sample returned .*\(3,\).*\(4,\)"):
        require_shapes(problem, PIXELS)


def test_data_of_another_structure_are_refused_in_a_sentence():
    masked = {"mask": jnp.ones(4), "value": jnp.zeros(4)}
    with pytest.raises(ConfigError, match="does not go with these data"):
        require_shapes(
            Problem(MIXTURE, CATEGORY, ENCODER, elbo.Enumerated()), PIXELS._replace(example=masked)
        )


def test_what_keeps_its_protocol_is_let_through():
    require_shapes(Problem(DECODER, GAUSSIAN, ENCODER, elbo.AnalyticKL(1, False)), PIXELS)
