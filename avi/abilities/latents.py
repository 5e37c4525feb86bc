"""What may hold of the latent that model and family share."""

from typing import Protocol, runtime_checkable

from avi.abilities.asking import ability
from avi.types import Family, Latent, Model


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
