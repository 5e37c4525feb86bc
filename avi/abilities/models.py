"""What a model or its likelihood may offer."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array

from avi.abilities.asking import ability
from avi.types import Family, Lam, Likelihood, Model, Prior, PRNGKey, Scalar, Theta, X, Z


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


@ability("a model whose EM step has a closed form", instead="Try {place}=adam.")
@runtime_checkable
class ClosedFormEM(Protocol):
    """A model that knows the theta of the largest expected log joint under its own posterior."""

    def em_step(self, theta: Theta, x: X) -> Theta: ...  # of rows x [n, ...]


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
class Emitting(Protocol):
    """A model that draws x given z."""

    def emit(self, theta: Theta, z: Z, key: PRNGKey, like: X) -> X: ...


@runtime_checkable
class Entrywise(Protocol):
    """A likelihood of independent entries, of which it knows each."""

    # log p(x_i | outputs), in the shape of x
    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array: ...


@runtime_checkable
class Nominal(Protocol):
    """A likelihood of codes whose order means nothing: they have no mean."""

    @property
    def categories(self) -> int: ...  # K


@runtime_checkable
class OpenLikelihood(Protocol):
    """A model that leaves its likelihood to be chosen."""

    @property
    def likelihood(self) -> Likelihood: ...


def _has_entries(model: Model, family: Family) -> bool:
    """Whether the density of some entries is known where the model left its likelihood open."""
    del family
    return not isinstance(model, OpenLikelihood) or isinstance(model.likelihood, Entrywise)


@ability("a model with a density of some entries of x alone", where=_has_entries)
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
