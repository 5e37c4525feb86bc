"""What a component may offer beyond its protocol: one protocol each, asked for by `needs`.

Who has the methods has the ability. What a person reads where a component needs one in vain stands
with it, and so does the condition of one that holds for some pairs of model and family only.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array

from avi.types import (
    Bound,
    Estimate,
    Family,
    Inference,
    Lam,
    Latent,
    Model,
    Params,
    Prior,
    PRNGKey,
    Psi,
    Scalar,
    Target,
    Theta,
    X,
    Z,
)

Pair = Callable[[Model, Family], bool]


class Ability(NamedTuple):
    """What a person reads of an ability, and which pairs of those that have its methods have it."""

    words: str  # after "needs": a model with ..., a family with ...
    instead: str  # what to type where it is missing
    where: Pair


ABILITIES: dict[type, Ability] = {}


def _everywhere(model: Model, family: Family) -> bool:
    del model, family
    return True


def ability(words: str, *, instead: str = "", where: Pair = _everywhere) -> Callable[[type], type]:
    """Return the decorator that keeps these words with a protocol."""

    def keep(protocol: type) -> type:
        ABILITIES[protocol] = Ability(words, instead, where)
        return protocol

    return keep


def explained(need: type) -> Ability:
    """Return what is known of an ability; of one without the decorator its name."""
    return ABILITIES.get(need, Ability(f"the ability {need.__name__}", "", _everywhere))


def offers(need: type, model: Model, family: Family) -> bool:
    """Whether the model or the family has this ability, in this pair."""
    has_methods = isinstance(model, need) or isinstance(family, need)
    return has_methods and explained(need).where(model, family)


def missing(component: Any, model: Model, family: Family) -> list[type]:
    """Return the abilities that `component` needs and the pair does not offer."""
    return [need for need in component.needs if not offers(need, model, family)]


def first_that_fits(candidates: Iterable[Any], model: Model, family: Family) -> Any:
    """Return the first of the components whose needs the pair meets, None if there is none."""
    return next((one for one in candidates if not missing(one, model, family)), None)


# --- of any component -------------------------------------------------------------------------


@runtime_checkable
class PartlyIdle(Protocol):
    """A component, or a block of settings, some keys of which do nothing beside others."""

    def idle(self) -> Mapping[str, str]: ...  # key -> why, a sentence


# --- of models --------------------------------------------------------------------------------


@runtime_checkable
class Selective(Protocol):
    """A model whose `elbo` and `coordinate_update` hold for some families only."""

    def supports(self, family: Family) -> bool: ...


def _holds(model: Model, family: Family) -> bool:
    """Whether the model's closed forms are those of the family: of any, unless it says."""
    return not isinstance(model, Selective) or model.supports(family)


@ability(
    "a model with an exact log evidence", instead="Try evidence=auto, or model=linear_gaussian."
)
@runtime_checkable
class Tractable(Protocol):
    """A model whose evidence is known."""

    def log_evidence(self, theta: Theta, x: X) -> Scalar: ...


@runtime_checkable
class OpenPrior(Protocol):
    """A model that leaves its prior to be chosen."""

    @property
    def prior(self) -> Prior: ...


def is_standard(model: Any) -> bool:
    """Whether a model's prior is N(0, I) where it has left it open."""
    return not isinstance(model, OpenPrior) or model.prior.standard


def _has_standard_prior(model: Model, family: Family) -> bool:
    del family
    return is_standard(model)


@ability(
    "a model with prior z ~ N(0, I)",
    instead="Try objective=pathwise, or evidence=auto.",
    where=_has_standard_prior,
)
@runtime_checkable
class StandardNormalPrior(Protocol):
    """A model whose log joint is this and log N(z; 0, I), or the prior that it leaves open."""

    def log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar: ...


@ability(
    "a model with prior z ~ N(0, I) and a likelihood that is log-concave in z",
    instead="Try evidence=auto.",
)
@runtime_checkable
class LogConcave(Protocol):
    """A model with a `StandardNormalPrior` whose log likelihood is concave in z."""

    def concave_log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar: ...


@ability(
    "a model whose ELBO under the family is known in closed form",
    instead="Try objective=elbo.",
    where=_holds,
)
@runtime_checkable
class ClosedForm(Protocol):
    """A model that knows the ELBO of a family, of each if it is not `Selective`."""

    def elbo(self, theta: Theta, x: X, family: Family, lam: Lam) -> Scalar: ...


@runtime_checkable
class NamedBound(Protocol):
    """A model that says which of several ELBOs its closed form is."""

    @property
    def bound_name(self) -> str: ...


@ability("a model with coordinate updates of lam", instead="Try {place}=adam.", where=_holds)
@runtime_checkable
class Coordinate(Protocol):
    """A model with coordinate updates of lam, of each family's if it is not `Selective`."""

    # One update, which never lowers the bound; what does not depend on lam is computed once.
    def coordinate_update(self, theta: Theta, x: X, family: Family) -> Callable[[Lam], Lam]: ...


@ability(
    "a model whose theta is a conjugate distribution over its globals",
    instead="Try {place}=adam, or model=lda.",
)
@runtime_checkable
class Conjugate(Protocol):
    """A model whose theta are natural parameters of q(globals)."""

    def mean_globals(self, theta: Theta) -> dict[str, Array]: ...  # E_q of each global


@runtime_checkable
class Decodable(Protocol):
    """A model that can decode z to the mean of x."""

    def decode(self, theta: Theta, z: Z, like: X) -> X: ...


@ability(
    "a model with layers of latents",
    instead="Try model=dlgm, or family=autoregressive_flow.",
)
@runtime_checkable
class Layered(Protocol):
    """A model whose z are layers, each of which depends on those before it."""

    @property
    def layer_sizes(self) -> tuple[int, ...]: ...  # latents of each, from the top


@runtime_checkable
class Maskable(Protocol):
    """A model with a density of the entries of x that were seen, x = {"mask", "value"}."""

    def observed(self, x: X) -> tuple[Array, Array]: ...  # entries; 1 where seen, 0 where missing


@runtime_checkable
class ManyAtOnce(Protocol):
    """A model made of a function of many rows: whether it scores each alone is to be shown."""

    # log densities of rows [n, ...] together, and of what stands outside of them
    def of_rows(self, theta: Theta, x: X, z: Z) -> Array: ...


@runtime_checkable
class Particular(Protocol):
    """A likelihood that gives no probability to some values of its support."""

    def require(self, rows: X) -> None: ...  # ConfigError for such a value; leading axis


@runtime_checkable
class Remarkable(Protocol):
    """A model with something to say about its trained parameters."""

    def remarks(self, theta: Theta) -> list[str]: ...


@runtime_checkable
class OwnUnits(Protocol):
    """A model whose own numbers are in the units of x: it is given the data as they are."""

    @property
    def own_units(self) -> bool: ...


@runtime_checkable
class Standardising(Protocol):
    """A model that knows the scale of its data, by which encoders see them."""

    def standard(self, x: X) -> X: ...


# --- of the latent that model and family share ------------------------------------------------


def _is_real(model: Model, family: Family) -> bool:
    del family
    return model.latent.space == "real"


def _is_low_dimensional(model: Model, family: Family) -> bool:
    return _is_real(model, family) and model.latent.size <= 2


@ability("a latent in R^d", instead="Try evidence=auto.", where=_is_real)
@runtime_checkable
class Real(Protocol):
    """A latent of real numbers."""

    @property
    def latent(self) -> Latent: ...


@ability(
    "a latent in R^1 or R^2, as nodes grow as a power of the dimension",
    instead="Try evidence=ais, or evidence=auto.",
    where=_is_low_dimensional,
)
@runtime_checkable
class LowDimensional(Protocol):
    """A latent of one or two real numbers."""

    @property
    def latent(self) -> Latent: ...


# --- of families ------------------------------------------------------------------------------


@runtime_checkable
class SharedWeights(Protocol):
    """A family with weights psi, which all datapoints share: the layers of a flow, say.

    What depends on psi is asked of `given(psi)` alone.
    """

    @property
    def psi(self) -> Psi | None: ...  # None before they are given
    def init_psi(self, key: PRNGKey) -> Psi: ...
    def given(self, psi: Psi) -> Family: ...  # the same family at these weights


def given(family: Family, psi: Psi) -> Family:
    """Return the family at these weights; itself if it has none, or there are none to give."""
    nothing = isinstance(psi, tuple) and not psi
    return family.given(psi) if isinstance(family, SharedWeights) and not nothing else family


def psi_of(family: Family) -> Psi:
    """Return the weights that a family was given, nothing if it has none."""
    return family.psi if isinstance(family, SharedWeights) else ()


def _is_noisy(model: Model, family: Family) -> bool:
    del model  # which may call something else its noise
    return isinstance(family, Reparametrised | Stratified)


@runtime_checkable
class KnownEntropy(Protocol):
    """A family that knows its entropy."""

    def entropy(self, lam: Lam, z: Z) -> Scalar: ...  # z may be used: then its mean is the entropy


@ability(
    "a family with reparametrised draws",
    instead="Try objective=elbo or objective=score, or family=diagonal_gaussian.",
    where=_is_noisy,
)
@runtime_checkable
class Noisy(Protocol):
    """A family that draws from noise with a symmetric law: `Reparametrised` or `Stratified`."""

    def noise(self, key: PRNGKey) -> Array: ...


@runtime_checkable
class Stratified(Protocol):
    """A mixture of families with reparametrised draws: one from each, counted by its weight."""

    @property
    def components(self) -> int: ...  # K
    def noise(self, key: PRNGKey) -> Array: ...
    def strata(self, lam: Lam, eps: Array) -> tuple[Array, Array]: ...  # z [K, ...], log weights


@ability(
    "a family with a density that can be evaluated at any z",
    instead="Try objective=pathwise, evidence=ais, or family=coupling_flow.",
)
@runtime_checkable
class KnownDensity(Protocol):
    """A family that knows log q at any z."""

    def log_prob(self, lam: Lam, z: Z) -> Scalar: ...  # nats


@runtime_checkable
class JointlyDrawn(Protocol):
    """A family that knows log q of what it draws, in one pass and without an inverse.

    A family without a density may give a number whose mean is above that of log q, such that
    exp(-it) has the mean of 1 / q under every weight that depends on z alone.
    """

    def noise(self, key: PRNGKey) -> Array: ...
    def transport_and_log_prob(self, lam: Lam, eps: Array) -> tuple[Z, Scalar]: ...


def draw_and_log_prob(family: Any, lam: Lam, eps: Array) -> tuple[Z, Scalar]:
    """Return z = transport(lam, eps) and log q(z; lam)."""
    if isinstance(family, JointlyDrawn):
        return family.transport_and_log_prob(lam, eps)
    z = family.transport(lam, eps)
    return z, family.log_prob(lam, z)


@ability(
    "a family with reparametrised draws z = transport(lam, eps)",
    instead="Try objective=elbo or objective=score, or family=diagonal_gaussian.",
)
@runtime_checkable
class Reparametrised(Protocol):
    """A family whose draws are a smooth function of lam and of noise with a symmetric law."""

    def noise(self, key: PRNGKey) -> Array: ...
    def transport(self, lam: Lam, eps: Array) -> Z: ...


@ability("a family with a closed-form KL to N(0, I)", instead="Try objective=pathwise.")
@runtime_checkable
class StandardNormalKL(Protocol):
    """A family that knows KL(q || N(0, I))."""

    def kl_to_standard_normal(self, lam: Lam) -> Scalar: ...


@ability("a family over a finite space", instead="Try objective=elbo.")
@runtime_checkable
class Enumerable(Protocol):
    """A family that can list its space."""

    def points(self) -> Array: ...  # every z, leading axis


@ability("a family with natural-gradient steps", instead="Try {place}=adam.")
@runtime_checkable
class Natural(Protocol):
    """A family that knows its Fisher information."""

    def natural_step(
        self, lam: Lam, gradient: Lam, rate: Scalar | float
    ) -> Lam: ...  # rate 1 solves a conjugate bound


@runtime_checkable
class Placeable(Protocol):
    """A family on R^d with a member at any place, of any width."""

    def member(self, mean: Array, deviation: Array) -> Lam: ...  # near N(mean, deviation^2)


@runtime_checkable
class Holding(Protocol):
    """A family among whose members are those of another."""

    def holds(self, smaller: Family) -> bool: ...
    def embed(self, smaller: Family, lam: Lam) -> Lam: ...  # where this is the other's q(z; lam)


@runtime_checkable
class Displaceable(Protocol):
    """A family with coordinates around each lam in which its Fisher matrix is near I."""

    def displace(self, lam: Lam, step: Lam) -> Lam: ...


@ability(
    "a family of Gaussians z = m + C eps",
    instead="Try evidence=auto, or family=diagonal_gaussian.",
)
@runtime_checkable
class LocationScale(Protocol):
    """A family of Gaussians: its transport is m + C eps, eps ~ N(0, I)."""

    def transport(self, lam: Lam, eps: Array) -> Z: ...
    def affine(self, lam: Lam) -> tuple[Array, Array]: ...  # (m, C)


@runtime_checkable
class ConcaveEntropy(Protocol):
    """A family of Gaussians each entry of whose (m, C) is a function of one entry of lam."""

    def location_scale(self, lam: Lam) -> Array: ...  # these entries, in which entropy is concave


@runtime_checkable
class LogProportions(Protocol):
    """A family on the simplex for which expectations of log z are known, e.g. the Dirichlet."""

    def expected_log(self, lam: Lam) -> Array: ...  # E[log z]
    def relative_weights(self, lam: Lam) -> Array: ...  # exp(E[log z]) over the largest
    def kl_to(self, lam: Lam, concentration: Array) -> Scalar: ...  # of a Dirichlet


@runtime_checkable
class Unrestricted(Protocol):
    """A family of all distributions over a finite set, any posterior among them."""

    def points(self) -> Array: ...  # every z, leading axis
    def of_logits(self, logits: Array) -> Lam: ...


# --- of the other components ------------------------------------------------------------------


@runtime_checkable
class TrainsAnother(Protocol):
    """An objective whose steps climb something else than the bound that it reports."""

    @property
    def trained_name(self) -> str: ...


@runtime_checkable
class StepLevel(Protocol):
    """An objective that sees a whole step: all parameters, the batch, and how far training is."""

    def require(self, inference: Inference) -> None: ...  # ConfigError for modes that do not fit
    def of_step(
        self, problem: Any, params: Params, x: X, keys: PRNGKey, step: Scalar
    ) -> Bound: ...  # of every row: values [B] and surrogates [B]


@runtime_checkable
class Bidirectional(Protocol):
    """An estimator of log p(x) that has an upper bound too, where z ~ p(z | x) is known."""

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate: ...
    def upper(self, target: Target, family: Family, lam: Lam, z: Z, key: PRNGKey) -> Estimate: ...
    def doubled(self) -> "Bidirectional | None": ...  # twice the effort, None beyond its limit


@runtime_checkable
class Tellable(Protocol):
    """An estimator of log p(x) that looks for the modes of p(z | x), and can be told of one."""

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate: ...
    def told(self, target: Target, family: Family, lam: Lam, z: Z, key: PRNGKey) -> Estimate: ...


@runtime_checkable
class Weighted(Protocol):
    """An estimator of log p(x) that is the log of a mean of importance weights."""

    @property
    def num_weights(self) -> int: ...  # of one estimate


@runtime_checkable
class Chooser(Protocol):
    """A component that stands for the best of several for a model and a family.

    In a configuration it stands wherever what it chooses may stand, as the return annotation of
    `choose` says; `problem.fit` puts the chosen one in its place.
    """

    def choose(self, model: Model, family: Family) -> Any: ...


@runtime_checkable
class Bindable(Protocol):
    """An optimiser of lam that needs to know the family, e.g. the natural gradient."""

    @property
    def needs(self) -> tuple[type, ...]: ...
    def bind(self, family: Family) -> Any: ...  # an optax.GradientTransformation


@runtime_checkable
class Documents(Protocol):
    """Data of bags of words that can be read from other files of the same form."""

    def documents_of(
        self, path: Path, vocabulary: tuple[str, ...]
    ) -> Any: ...  # avi.datasets.documents.Bags; terms behind `vocabulary` are not of it


@runtime_checkable
class Incomplete(Protocol):
    """Data of which entries may be missing."""

    @property
    def masks(self) -> bool: ...  # x = {"mask", "value"}, value 0 where mask is 0
