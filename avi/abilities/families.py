"""What a family may offer."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array

from avi.abilities.asking import ability
from avi.types import Family, Lam, Model, PRNGKey, Psi, Scalar, Z


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


def drawn(family: Any, lam: Lam, key: PRNGKey) -> tuple[Z, Scalar]:
    """Return z ~ q(z; lam) and log q(z; lam), of any family."""
    if isinstance(family, Reparametrised):
        return draw_and_log_prob(family, lam, family.noise(key))
    z = family.sample(lam, key)
    return z, family.log_prob(lam, z)


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
