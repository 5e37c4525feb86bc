"""What components of any other kind may offer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from avi.types import (
    Bound,
    Dataset,
    Estimate,
    Family,
    Inference,
    Lam,
    Model,
    Params,
    PRNGKey,
    Scalar,
    Target,
    X,
    Z,
)


@runtime_checkable
class PartlyIdle(Protocol):
    """A component, or a block of settings, some keys of which do nothing beside others."""

    def idle(self) -> Mapping[str, str]: ...  # key -> why, a sentence


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
class Drawn(Protocol):
    """An objective that is a mean over draws of q; without, it is exact."""

    @property
    def num_samples(self) -> int: ...  # S


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
class Forgetful(Protocol):
    """An optimiser whose step forgets all rows but those of its batch, which must be all."""

    @property
    def forgetful(self) -> bool: ...


@runtime_checkable
class Incomplete(Protocol):
    """Data of which entries may be missing; rows are stored as pairs (mask, value), [N, D, 2]."""

    @property
    def masks(self) -> bool: ...  # x = {"mask", "value"}, value 0 where mask is 0


def masks(dataset: Dataset) -> bool:
    """Whether entries of x may be missing."""
    return isinstance(dataset, Incomplete) and dataset.masks
