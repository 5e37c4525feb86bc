"""Contracts: avi's own components fulfil them, and each fault planted in one is found."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import pytest

from avi.abilities import ClosedForm
from avi.cli.main import run
from avi.config.catalog import config_dir
from avi.contracts import dataset, family, likelihood, model, objective
from avi.contracts.claims import broken, mean_at_most, mean_is
from avi.datasets.digits import Digits
from avi.errors import ConfigError
from avi.families.autoregressive_flow import AutoregressiveFlow
from avi.families.auxiliary import Auxiliary
from avi.families.categorical import Categorical
from avi.families.coupling_flow import CouplingFlow
from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.families.localised import Localised
from avi.families.low_rank_gaussian import LowRankGaussian
from avi.families.mixture_of_gaussians import MixtureOfGaussians
from avi.families.planar_flow import PlanarFlow
from avi.families.student_t import StudentT as StudentQ
from avi.families.top_down import TopDown
from avi.inference.amortized import Amortized
from avi.likelihoods.bernoulli import Bernoulli
from avi.likelihoods.categorical import Categorical as Codes
from avi.likelihoods.continuous_bernoulli import ContinuousBernoulli
from avi.likelihoods.gaussian import Gaussian
from avi.likelihoods.log_normal import LogNormal
from avi.likelihoods.negative_binomial import NegativeBinomial
from avi.likelihoods.poisson import Poisson
from avi.likelihoods.student_t import StudentT
from avi.models.dlgm import DLGM
from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.models.poisson_lognormal import PoissonLogNormal
from avi.models.state_space import StateSpace
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.objectives.beta import Beta
from avi.objectives.cubo import Cubo
from avi.objectives.dreg import DoublyReparametrised
from avi.objectives.elbo import Elbo, Enumerated, Pathwise, Score, StickTheLanding
from avi.objectives.iwae import ImportanceWeighted
from avi.objectives.renyi import Renyi
from avi.objectives.thermodynamic import Thermodynamic
from avi.objectives.vimco import Vimco
from avi.objectives.wake_sleep import WakeSleep
from avi.priors.learned import Learned
from avi.problem import Problem
from avi.types import Bound, DataSpec

DRAWS = 3000
SPEC = DataSpec(jnp.zeros(4), jnp.full(4, 0.4), "real", 100, jnp.zeros((5, 4)))
DECODER = MLP((5,), "tanh", 1.0)
GAUSSIAN = DiagonalGaussian(2)
COUPLING = CouplingFlow(2, 1, "shared", layers=2, width=4, transform="affine")
MODELS = [
    (LinearGaussian(2, "shared", 1e-3), FullRankGaussian(2)),
    (Mixture(3, "own", 1e-2), Categorical(3)),
    (PoissonLogNormal(2), GAUSSIAN),
    (StateSpace(4), DiagonalGaussian(4)),
    (DLGM(3, DECODER, Bernoulli(), (1, 2), DECODER), DiagonalGaussian(3)),
    (VAE(2, DECODER, Bernoulli()), GAUSSIAN),
    (VAE(2, DECODER, ContinuousBernoulli()), GAUSSIAN),
    (VAE(2, DECODER, Bernoulli(), prior=Learned(MixtureOfGaussians(2, 3))), GAUSSIAN),
    (VAE(2, DECODER, Bernoulli(), prior=Learned(COUPLING)), GAUSSIAN),
    (VAE(2, DECODER, Gaussian(0.7, True, 0.01)), GAUSSIAN),
]
FAMILIES = [
    GAUSSIAN,
    FullRankGaussian(3),
    LowRankGaussian(3, 2),
    MixtureOfGaussians(2, 3),
    COUPLING,
    CouplingFlow(2, 0, "shared", layers=2, width=4, transform="spline"),
    AutoregressiveFlow(3, 1, "shared", layers=2, width=4),
    PlanarFlow(3, 1, "shared", layers=2),
    TopDown(3, 1, "shared", width=4, sizes=(1, 2)),
    Localised(COUPLING),
    Auxiliary(1, 1, 4, 1, COUPLING),
    StudentQ(2, 6.0),
    Categorical(4),
    Dirichlet(3),
]
LIKELIHOODS = [
    Bernoulli(),
    ContinuousBernoulli(),
    Gaussian(0.7, False, 0.01),
    Gaussian(0.7, True, 0.01),
    Gaussian(0.7, True, 0.01, "own"),
    Gaussian(0.7, True, 0.01, "network"),
    StudentT(0.7, True, 0.01, "own", 5.0),
    LogNormal(0.4, True, 0.01),
    LogNormal(0.4, True, 0.01, "network"),
    Poisson(),
    NegativeBinomial(2.0, "shared", zero_inflated=False),
    NegativeBinomial(2.0, "own", zero_inflated=True),
    NegativeBinomial(2.0, "network", zero_inflated=True),
    Codes(3),
]
OBJECTIVES = [
    Elbo(1, False),
    StickTheLanding(1),
    Score(10),
    Enumerated(),
    ImportanceWeighted(5),
    DoublyReparametrised(5),
    Renyi(0.5, 5),
    Cubo(2.0, 4),
    Vimco(3),
    Thermodynamic(4, 3, 0.1),
    Beta(1.0, 10, 0.0, 2, True),
    WakeSleep(5, 1.0, 0.0),
]


def named(component):
    """Return a name for a test's parameter."""
    return type(component[0] if isinstance(component, tuple) else component).__name__


@pytest.mark.parametrize("pair", MODELS, ids=named)
def test_a_model_of_avi_fulfils_its_contract(pair):
    claims = list(model.claims(*pair, SPEC, DRAWS))
    assert len(claims) >= 3
    assert broken(claims) == []


@pytest.mark.parametrize("own", FAMILIES, ids=named)
def test_a_family_of_avi_fulfils_its_contract(own):
    claims = list(family.claims(own, DRAWS))
    assert len(claims) >= 6
    assert broken(claims) == []


@pytest.mark.parametrize("own", LIKELIHOODS, ids=named)
def test_a_likelihood_of_avi_fulfils_its_contract(own):
    claims = list(likelihood.claims(own, DRAWS))
    several = own.num_outputs(4) != 4  # outputs for one entry: none of them is its mean
    assert len(claims) == 11 - several
    assert broken(claims) == []


@pytest.mark.parametrize("own", OBJECTIVES, ids=named)
def test_an_objective_of_avi_fulfils_its_contract(own):
    claims = list(objective.claims(own, DRAWS))
    assert len(claims) >= 4
    assert broken(claims) == []


def test_the_digits_fulfil_their_contract():
    claims = list(dataset.claims(Digits("fixed", 0, 180, 180, 0)))
    assert len(claims) == 14
    assert broken(claims) == []


# Faults, each in a component of one's own: what is found names what was broken.


@dataclass(frozen=True)
class Shifted(LinearGaussian):
    def sample(self, theta, key, like):
        z, x = super().sample(theta, key, like)
        return z, x + 99


@dataclass(frozen=True)
class LittleShifted(LinearGaussian):
    def sample(self, theta, key, like):
        z, x = super().sample(theta, key, like)
        return z, x + 0.2


@dataclass(frozen=True)
class Constant(LinearGaussian):
    def log_joint(self, theta, x, z):
        return jnp.zeros(()) + 0 * z.sum()


@dataclass(frozen=True)
class NotANumber(LinearGaussian):
    def log_joint(self, theta, x, z):
        return super().log_joint(theta, x, z) * jnp.nan


@dataclass(frozen=True)
class OtherPrior(LinearGaussian):
    def log_joint(self, theta, x, z):
        return super().log_joint(theta, x, z) - 0.5 * jnp.sum(z**2)


@dataclass(frozen=True)
class WrongEvidence(StateSpace):
    def log_evidence(self, theta, x):
        return super().log_evidence(theta, x) + 0.3


@dataclass(frozen=True)
class NotConcave(LinearGaussian):
    def concave_log_likelihood(self, theta, x, z):
        return 0.1 * jnp.sum(z**2)


@dataclass(frozen=True)
class MeanOfEntries(LinearGaussian):
    def log_likelihood(self, theta, x, z):
        return super().log_likelihood(theta, x, z) / x.size

    def log_joint(self, theta, x, z):
        return self.log_likelihood(theta, x, z) - 0.5 * jnp.sum(z**2 + jnp.log(2 * jnp.pi))


@dataclass(frozen=True)
class WithoutLikelihood:
    """A model that says no more than it must."""

    whole: LinearGaussian
    support = "real"
    latent = property(lambda self: self.whole.latent)
    init = property(lambda self: self.whole.init)
    log_prior = property(lambda self: self.whole.log_prior)
    sample = property(lambda self: self.whole.sample)

    def log_joint(self, theta, x, z):
        return self.whole.log_joint(theta, x, z)


@dataclass(frozen=True)
class ForgottenPrior(WithoutLikelihood):
    def log_joint(self, theta, x, z):
        return self.whole.log_likelihood(theta, x, z)


@dataclass(frozen=True)
class EvidenceOfNothing(LinearGaussian):
    def log_evidence(self, theta, x):
        return jnp.zeros(())


@dataclass(frozen=True)
class ElboTooHigh(PoissonLogNormal):
    def elbo(self, theta, x, family, lam):
        return super().elbo(theta, x, family, lam) + 0.5


@dataclass(frozen=True)
class CalledConcave(LinearGaussian):
    def concave_log_likelihood(self, theta, x, z):
        return jnp.sum(z**2)


WRONG_MODELS = {
    EvidenceOfNothing: "log_evidence is",
    CalledConcave: "concave_log_likelihood is concave",
    MeanOfEntries: "total probability stays 1",
    Shifted: "the simulator draws from the density",
    LittleShifted: "the simulator draws from the density",
    Constant: "log_joint is log_likelihood and log N",
    NotANumber: r"log p\(x, z\) is finite",
    OtherPrior: "log_joint is log_likelihood and log N",
}


@pytest.mark.parametrize("wrong", WRONG_MODELS, ids=lambda wrong: wrong.__name__)
def test_a_model_that_contradicts_itself_is_not_trained(wrong):
    problem = Problem(wrong(2, "shared", 1e-3), GAUSSIAN, Amortized(DECODER), Pathwise(1, False))
    with pytest.raises(ConfigError, match=WRONG_MODELS[wrong]):
        model.require(problem, SPEC)


def test_an_elbo_in_closed_form_that_is_another_number_is_not_trained():
    parts = GAUSSIAN, Amortized(DECODER), Pathwise(1, False)
    with pytest.raises(ConfigError, match="elbo is the mean of"):
        model.require(Problem(ElboTooHigh(2), *parts), SPEC)


def test_a_prior_that_is_forgotten_is_found_without_a_likelihood_to_compare():
    whole = LinearGaussian(2, "shared", 1e-3)
    parts = GAUSSIAN, Amortized(DECODER), Pathwise(1, False)
    model.require(Problem(WithoutLikelihood(whole), *parts), SPEC)
    with pytest.raises(ConfigError, match="total probability stays 1 as z is stretched"):
        model.require(Problem(ForgottenPrior(whole), *parts), SPEC)


def test_the_command_shows_what_is_broken_and_training_refuses_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "shifted.py").write_text(
        "from dataclasses import dataclass\n"
        "from avi.models.linear_gaussian import LinearGaussian\n"
        "@dataclass(frozen=True)\n"
        "class Off(LinearGaussian):\n"
        "    def sample(self, theta, key, like):\n"
        "        z, x = super().sample(theta, key, like)\n"
        "        return z, x + 99\n"
    )
    own = "avi.models.linear_gaussian.LinearGaussian"
    text = (config_dir() / "model" / "linear_gaussian.yaml").read_text()
    (tmp_path / "model" / "off.yaml").write_text(text.replace(own, "shifted.Off"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AVI_PLUGINS", "shifted")
    monkeypatch.setenv("AVI_CONFIG_PATH", str(tmp_path))
    words = ["model=off", "dataset=linear_gaussian"]
    assert run(["verify", *words]) == 10
    out, err = capsys.readouterr()
    assert "FAIL  the simulator draws from the density" in out
    assert "the contract is broken: the simulator" in err
    assert run(["train", *words, "output=run"]) == 2
    assert "the simulator draws from the density" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_part_of_ones_own_in_a_model_of_avi_is_looked_at_too():
    wrong = VAE(2, DECODER, OneSided())
    problem = Problem(wrong, GAUSSIAN, Amortized(DECODER), Pathwise(1, False))
    with pytest.raises(ConfigError, match="the simulator draws from the density"):
        model.require(problem, SPEC)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (WrongEvidence(4), "annealed importance weights"),
        (NotConcave(4, "shared", 1e-3), "is concave in z"),
    ],
)
def test_a_closed_form_that_is_not_one_is_found(wrong, name):
    found = broken(model.claims(wrong, DiagonalGaussian(4), SPEC, DRAWS))
    assert any(name in claim.name for claim in found)


@dataclass(frozen=True)
class OneSided(Gaussian):
    scale: float = 0.7
    learn_scale: bool = True
    floor: float = 0.01

    def sample(self, params, outputs, key):
        return outputs + jnp.abs(super().sample(params, outputs, key) - outputs)


@dataclass(frozen=True)
class Halved(Gaussian):
    def log_prob(self, params, outputs, x):
        return super().log_prob(params, outputs, x) + x.size * jnp.log(0.5)


@dataclass(frozen=True)
class Averaged(Bernoulli):
    def log_prob(self, params, outputs, x):
        return super().log_prob(params, outputs, x) / x.size


@dataclass(frozen=True)
class Unsummed(Gaussian):
    def log_prob(self, params, outputs, x):
        return -0.5 * (x - outputs) ** 2


@dataclass(frozen=True)
class Misspelt(Gaussian):
    @property
    def support(self):
        return "reall"


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (OneSided(), "mean is that of the draws"),
        (Halved(0.7, True, 0.01), "sum to 1"),
        (Averaged(), "sum to 1"),  # as a factor leaves the mean of the score at 0
        (Unsummed(0.7, False, 0.01), "one number"),
        (Misspelt(0.7, True, 0.01), "support is one"),
    ],
)
def test_a_likelihood_that_is_no_density_is_found(wrong, name):
    found = broken(likelihood.claims(wrong, DRAWS))
    assert any(name in claim.name for claim in found)


@dataclass(frozen=True)
class NoConstant(DiagonalGaussian):
    def log_prob(self, lam, z):
        return super().log_prob(lam, z) + 0.9189385 * self.latent_size


@dataclass(frozen=True)
class WrongEntropy(DiagonalGaussian):
    def entropy(self, lam, z):
        return super().entropy(lam, z) + 0.5


@dataclass(frozen=True)
class Detached(DiagonalGaussian):
    def transport(self, lam, eps):
        return super().transport(jax.lax.stop_gradient(lam), eps)


@dataclass(frozen=True)
class Downhill(DiagonalGaussian):
    def natural_step(self, lam, gradient, rate):
        return super().natural_step(lam, -gradient, rate)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (NoConstant(2), "integrates to 1"),
        (WrongEntropy(2), "entropy"),
        (Detached(2), "moves with lam"),
        (Downhill(2), "uphill"),
    ],
)
def test_a_family_that_is_not_one_distribution_is_found(wrong, name):
    found = broken(family.claims(wrong, DRAWS))
    assert any(name in claim.name for claim in found)


@dataclass(frozen=True)
class NoBound(Pathwise):
    def __call__(self, target, family, lam, key):
        bound = super().__call__(target, family, lam, key)
        return Bound(bound.value + 5, bound.surrogate)


@dataclass(frozen=True)
class OtherGradient(Pathwise):
    def __call__(self, target, family, lam, key):
        bound = super().__call__(target, family, lam, key)
        return Bound(bound.value, 1.1 * bound.surrogate)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [(NoBound(1, False), "at most log p(x)"), (OtherGradient(1, False), "gradient of the mean")],
)
def test_an_objective_that_is_no_bound_is_found(wrong, name):
    assert ClosedForm not in wrong.needs
    found = broken(objective.claims(wrong, DRAWS))
    assert any(name in claim.name for claim in found)


@dataclass(frozen=True)
class Restless(Digits):
    def view(self, row, index, visit):
        return super().view(row, index, visit) * (visit == 0)


def test_a_data_set_that_changes_unsaid_is_found():
    found = broken(dataset.claims(Restless("fixed", 0, 180, 180, 0)))
    assert any("every visit" in claim.name for claim in found)


def test_a_mean_is_judged_by_its_own_noise():
    key = jax.random.key(0)
    draws = jax.random.normal(key, (5000, 3))
    assert mean_is("", draws, 0.0).holds
    assert not mean_is("", draws, [0.0, 0.0, 0.2]).holds
    assert not mean_is("", draws.at[3].set(jnp.nan), 0.0).holds
    assert mean_at_most("", draws[:, 0], 1.0).holds
    assert not mean_at_most("", draws[:, 0], -1.0).holds
