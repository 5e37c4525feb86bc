"""Problem = model + family + inference + objective: the only place where the four meet."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import jax

from avi.abilities import Chooser, ClosedForm, NamedBound, explained, missing
from avi.errors import ConfigError
from avi.phi import SHARED, TABLE, Rows
from avi.types import (
    Bound,
    DataSpec,
    Family,
    Inference,
    Lam,
    Latent,
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
        _require_same_latent(self.model, self.family)
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


def pose(model: Model, family: Family, inference: Inference, objective: Objective) -> Problem:
    """Return the problem; what stands for several components is replaced by the one that fits."""
    _require_same_latent(model, family)
    model = fit(model, model, family)
    return Problem(model, family, fit(inference, model, family), fit(objective, model, family))


def fit(component: Any, model: Model, family: Family) -> Any:
    """Return `component` for this pair: it and its parts, or what they choose where they choose.

    Raises:
        ConfigError: if the pair does not offer what it needs.
    """
    chosen = _chosen(component, model, family)
    require(chosen, model, family)
    return chosen


def _chosen(component: Any, model: Model, family: Family) -> Any:
    if is_dataclass(component) and isinstance(component, Chooser):
        component = component.choose(model, family)
    parts = _parts(component)
    chosen = {name: _chosen(part, model, family) for name, part in parts.items()}
    changed = {name: part for name, part in chosen.items() if part is not parts[name]}
    return replace(component, **changed) if changed else component


def require(component: Any, model: Model, family: Family) -> None:
    """Raise ConfigError unless model and family offer all that `component` and its parts need."""
    for part in _with_needs(component):
        for need in missing(part, model, family):
            words, instead, _ = explained(need)
            raise ConfigError(
                f"{_name(part)} needs {words}; got {_name(model)} with {_name(family)}. "
                f"{instead}".rstrip()
            )


def _with_needs(component: Any) -> Iterator[Any]:
    """Yield those that have needs among the component and its parts."""
    if "needs" in type(component).__dict__ and is_dataclass(component):
        yield component
    for part in _parts(component).values():
        yield from _with_needs(part)


def _parts(component: Any) -> dict[str, Any]:
    """Return the fields of a component, none of a plain value."""
    if not is_dataclass(component):
        return {}
    return {field.name: getattr(component, field.name) for field in fields(component)}


def _require_same_latent(model: Model, family: Family) -> None:
    if model.latent != family.latent:
        raise ConfigError(
            f"{_name(family)} lives on {_describe(family.latent)}, but the latent of "
            f"{_name(model)} on {_describe(model.latent)}. Try {_families(model.latent)}."
        )


def _name(component: Any) -> str:
    return type(component).__name__


def _describe(latent: Latent) -> str:
    space, size = latent
    known = {
        "real": f"R^{size}",
        "simplex": f"the simplex of {size} parts",
        "category": f"{size} categories",
    }
    return known.get(space, f"the space {space!r} of size {size}")


def _families(latent: Latent) -> str:
    space, size = latent
    known = {
        "real": "family=diagonal_gaussian or family=full_rank_gaussian",
        "simplex": "family=dirichlet",
        "category": "family=categorical",
    }
    return f"{known.get(space, 'a family of your own on it')} with latent size {size}"
