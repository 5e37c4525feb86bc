"""Problem = model + family + inference + objective: the only place where the four meet."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import jax

from avi.abilities import INSTEAD, Chooser, ClosedForm, NamedBound, missing
from avi.errors import ConfigError
from avi.phi import SHARED, TABLE, Rows
from avi.types import (
    Bound,
    DataSpec,
    Family,
    Inference,
    Lam,
    Local,
    Model,
    Objective,
    Params,
    PRNGKey,
    Target,
    Theta,
    X,
)


@dataclass(frozen=True)
class Problem:
    """How one datapoint's bound follows from parameters, x and a key."""

    model: Model
    family: Family
    inference: Inference
    objective: Objective

    def __post_init__(self) -> None:
        if self.model.latent != self.family.latent:
            raise ConfigError(
                f"{_name(self.family)} lives on {_describe(self.family)}, but the latent of "
                f"{_name(self.model)} on {_describe(self.model)}. Try {_families(self.model)}."
            )
        for component in (self.inference, self.objective):
            require(component, self.model, self.family)

    @property
    def rows(self) -> Rows:
        """Where phi lives."""
        return TABLE if self.inference.per_datapoint else SHARED

    @property
    def bound_name(self) -> str:
        """What `bound` estimates, e.g. ELBO; only bounds of one name can be compared."""
        closed = ClosedForm in self.objective.needs
        if closed and isinstance(self.model, NamedBound):
            return self.model.bound_name
        return self.objective.bound_name

    def init(self, key: PRNGKey, data: DataSpec) -> Params:
        """Return initial theta and phi."""
        theta_key, phi_key = jax.random.split(key)
        phi = self.inference.init(phi_key, self.family, data.example, data.num_data)
        return Params(self.model.init(theta_key, data), phi)

    def local(self, theta: Theta, x: X) -> Local:
        """Return the variational problem of one x."""
        return Local(Target(self.model, theta, x), self.family, self.objective)

    def infer(self, params: Params, x: X, key: PRNGKey) -> Lam:
        """Return lam of one x; phi is the datapoint's own row if the mode has rows."""
        return self.inference.infer(params.phi, x, key, self.local(params.theta, x))

    def bound(self, params: Params, x: X, key: PRNGKey) -> Bound:
        """Return the bound of one x in nats."""
        infer_key, bound_key = jax.random.split(key)
        lam = self.infer(params, x, infer_key)
        return self.local(params.theta, x).bound(lam, bound_key)

    def gradient_evaluations(self) -> int:
        """Return the reverse passes of log p(x, z) for one datapoint in one training step."""
        return (1 + self.inference.inner_calls()) * self.objective.evaluations(self.family)


def pose(model: Model, family: Family, inference: Inference, objective: Any) -> Problem:
    """Return the problem; an objective that stands for several is replaced by the one that fits."""
    return Problem(model, family, inference, fit(objective, model, family))


def fit(component: Any, model: Model, family: Family) -> Any:
    """Return `component`, or what it chooses for this model and family; refuse what cannot be."""
    chosen = component.choose(model, family) if isinstance(component, Chooser) else component
    require(chosen, model, family)
    return chosen


def require(component: Any, model: Model, family: Family) -> None:
    """Raise ConfigError unless model and family offer all that `component` and its parts need."""
    for part in _parts(component):
        for need in missing(part, model, family):
            raise ConfigError(
                f"{_name(part)} needs {(need.__doc__ or '').rstrip('.')}; got {_name(model)} with "
                f"{_name(family)}. {INSTEAD.get(need.__name__, '')}".rstrip()
            )


def _parts(component: Any) -> Iterator[Any]:
    """Yield the component and the components among its fields that have needs."""
    if not is_dataclass(component):
        return
    if "needs" in type(component).__dict__:
        yield component
    for field in fields(component):
        yield from _parts(getattr(component, field.name))


def _name(component: Any) -> str:
    return type(component).__name__


def _describe(component: Model | Family) -> str:
    space, size = component.latent
    return {
        "real": f"R^{size}",
        "simplex": f"the simplex of {size} parts",
        "category": f"{size} categories",
    }[space]


def _families(model: Model) -> str:
    space, size = model.latent
    choices = {
        "real": "family=diagonal_gaussian or family=full_rank_gaussian",
        "simplex": "family=dirichlet",
        "category": "family=categorical",
    }
    return f"{choices[space]} with latent size {size}"
