"""What a component may offer beyond its protocol: one protocol each, asked for by `needs`."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Array

from avi.types import Estimate, Family, Lam, Model, PRNGKey, Scalar, Target, Theta, X, Z

INSTEAD = {
    "Tractable": "Try evidence=auto, or model=linear_gaussian.",
    "StandardNormalPrior": "Try objective=pathwise, or evidence=auto.",
    "StandardNormalKL": "Try objective=pathwise.",
    "ClosedForm": "Try objective=elbo.",
    "Coordinate": "Try refine=adam.",
    "Reparametrised": "Try objective=elbo or objective=score, or family=diagonal_gaussian.",
    "Enumerable": "Try objective=elbo.",
    "Natural": "Try adam in its place.",
    "Conjugate": "Try optimizer.theta=adam with inference=svi, or model=lda.",
    "LocationScale": "Try evidence=auto, or family=diagonal_gaussian.",
    "LogConcave": "Try evidence=auto.",
    "Bidirectional": "Try evidence=auto.",
}


@runtime_checkable
class Tractable(Protocol):
    """a model with an exact log evidence."""

    def log_evidence(self, theta: Theta, x: X) -> Scalar: ...


@runtime_checkable
class StandardNormalPrior(Protocol):
    """a model with prior z ~ N(0, I)."""

    def log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar: ...


@runtime_checkable
class LogConcave(Protocol):
    """a model with prior z ~ N(0, I) and a likelihood that is log-concave in z."""

    def concave_log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar: ...


@runtime_checkable
class ClosedForm(Protocol):
    """a model whose ELBO under the family is known in closed form."""

    def elbo(self, theta: Theta, x: X, family: "Family", lam: Lam) -> Scalar: ...


@runtime_checkable
class NamedBound(Protocol):
    """a model that says which of several ELBOs its closed form is."""

    @property
    def bound_name(self) -> str: ...


@runtime_checkable
class Coordinate(Protocol):
    """a model with coordinate updates of lam."""

    # One update, which never lowers the bound; what does not depend on lam is computed once.
    def coordinate_update(self, theta: Theta, x: X, family: "Family") -> Callable[[Lam], Lam]: ...


@runtime_checkable
class Conjugate(Protocol):
    """a model whose theta is a conjugate distribution over its globals."""

    def mean_globals(self, theta: Theta) -> dict[str, Array]: ...  # E_q of each global


@runtime_checkable
class Decodable(Protocol):
    """a model that can decode z to the mean of x."""

    def decode(self, theta: Theta, z: Z, like: X) -> X: ...


@runtime_checkable
class Maskable(Protocol):
    """a model with a density of the entries of x that were seen, x = {"mask", "value"}."""

    def observed(self, x: X) -> tuple[Array, Array]: ...  # entries; 1 where seen, 0 where missing


@runtime_checkable
class Remarkable(Protocol):
    """a model with something to say about its trained parameters."""

    def remarks(self, theta: Theta) -> list[str]: ...


@runtime_checkable
class Reparametrised(Protocol):
    """a family with reparametrised draws z = transport(lam, eps)."""

    def noise(self, key: PRNGKey) -> Array: ...
    def transport(self, lam: Lam, eps: Array) -> Z: ...


@runtime_checkable
class StandardNormalKL(Protocol):
    """a family with a closed-form KL to N(0, I)."""

    def kl_to_standard_normal(self, lam: Lam) -> Scalar: ...


@runtime_checkable
class Enumerable(Protocol):
    """a family over a finite space."""

    def points(self) -> Array: ...  # every z, leading axis


@runtime_checkable
class AllDistributions(Protocol):
    """a family of all distributions over a finite space, the posterior among them."""

    def points(self) -> Array: ...  # every z, leading axis
    def with_log_weights(self, log_weights: Array) -> Lam: ...  # q(z) in proportion to exp of them


@runtime_checkable
class Natural(Protocol):
    """a family with natural-gradient steps."""

    def natural_step(
        self, lam: Lam, gradient: Lam, rate: Scalar | float
    ) -> Lam: ...  # rate 1 solves a conjugate bound


@runtime_checkable
class LocationScale(Protocol):
    """a family of Gaussians z = m + C eps."""

    def member(self, mean: Array, deviation: Array) -> Lam: ...  # independent coordinates
    def displace(
        self, lam: Lam, step: Lam
    ) -> Lam: ...  # `step` in coordinates in which the Fisher matrix at lam is I
    def location_scale(self, lam: Lam) -> Array: ...  # the entries of (m, C), elementwise in lam


@runtime_checkable
class Bidirectional(Protocol):
    """an estimator of log p(x) that has an upper bound too, where z ~ p(z | x) is known."""

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate: ...
    def upper(self, target: Target, family: Family, lam: Lam, z: Z, key: PRNGKey) -> Estimate: ...
    def doubled(self) -> "Bidirectional | None": ...  # twice the effort, None beyond its limit


@runtime_checkable
class Weighted(Protocol):
    """an estimator of log p(x) that is the log of a mean of importance weights."""

    @property
    def num_weights(self) -> int: ...  # of one estimate


@runtime_checkable
class Chooser(Protocol):
    """A component that stands for the best of several for a given model and family."""

    def choose(self, model: Model, family: Family) -> Any: ...


@runtime_checkable
class Bindable(Protocol):
    """An optimiser of lam that needs to know the family, e.g. the natural gradient."""

    needs: ClassVar[tuple[type, ...]]

    def bind(self, family: Family) -> Any: ...  # an optax.GradientTransformation


@runtime_checkable
class Incomplete(Protocol):
    """Data of which entries may be missing."""

    @property
    def masks(self) -> bool: ...  # x = {"mask", "value"}, value 0 where mask is 0


def missing(component: Any, model: Model, family: Family) -> list[type]:
    """Return the protocols that `component` needs and neither the model nor the family offers."""
    return [
        need
        for need in component.needs
        if not (isinstance(model, need) or isinstance(family, need))
    ]
