"""Problem = model + family + inference + objective: the only place where the four meet."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import jax

from avi.abilities import (
    Chooser,
    ClosedForm,
    Decodable,
    NamedBound,
    SharedWeights,
    Standardising,
    StepLevel,
    explained,
    given,
    missing,
)
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
    Psi,
    Scalar,
    Target,
    Theta,
    X,
)

OF_PSI = 1  # folded into the key of the parameters


@dataclass(frozen=True)
class Problem:
    """How one datapoint's bound follows from parameters, x and a key."""

    model: Model
    family: Family
    inference: Inference
    objective: Objective

    def __post_init__(self) -> None:
        require_same_latent(self.model, self.family)
        require(self.inference, self.model, self.family, "inference")
        require(self.objective, self.model, self.family, "objective")
        if isinstance(self.objective, StepLevel):
            self.objective.require(self.inference)

    @property
    def phi_rows(self) -> Rows:
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
        """Return initial theta, phi and psi."""
        theta_key, phi_key = jax.random.split(key)
        phi = self.inference.init(phi_key, self.family, self._seen(data.example), data.num_data)
        psi: Psi = ()
        if isinstance(self.family, SharedWeights):
            psi = self.family.init_psi(jax.random.fold_in(key, OF_PSI))
        return Params(self.model.init(theta_key, data), phi, psi)

    def local(self, theta: Theta, x: X, psi: Psi = ()) -> Local:
        """Return the variational problem of one x."""
        return Local(Target(self.model, theta, x), given(self.family, psi), self.objective)

    def infer(self, params: Params, x: X, key: PRNGKey) -> Lam:
        """Return lam of one x; phi is the datapoint's own row if the mode has rows."""
        local = self.local(params.theta, x, params.psi)
        return self.inference.infer(params.phi, self._seen(x), key, local)

    def _seen(self, x: X) -> X:
        """Return what an encoder sees of x."""
        return self.model.standard(x) if isinstance(self.model, Standardising) else x

    def bound(self, params: Params, x: X, key: PRNGKey) -> Bound:
        """Return the bound of one x in nats."""
        infer_key, bound_key = jax.random.split(key)
        lam = self.infer(params, x, infer_key)
        return self.local(params.theta, x, params.psi).bound(lam, bound_key)

    def over_rows(
        self, function: Callable[[Params, X, PRNGKey], Any], params: Params, x: X, keys: PRNGKey
    ) -> Any:
        """Return `function` of every row of a batch, each with its own phi if the mode has rows."""
        return jax.vmap(function, (Params(None, self.phi_rows.axis, None), 0, 0))(params, x, keys)

    def bounds(self, params: Params, x: X, keys: PRNGKey, step: Scalar) -> Bound:
        """Return the bound of every row of a training step's batch."""
        if isinstance(self.objective, StepLevel):
            return self.objective.of_step(self, params, x, keys, step)
        bounds: Bound = self.over_rows(self.bound, params, x, keys)
        return bounds

    def gradient_evaluations(self) -> int:
        """Return the reverse passes of log p(x, z) for one datapoint in one training step."""
        return (1 + self.inference.inner_calls()) * self.objective.evaluations(self.family)


def pose(model: Model, family: Family, inference: Inference, objective: Objective) -> Problem:
    """Return the problem; what stands for several components is replaced by the one that fits."""
    require_same_latent(model, family)
    model = fit(model, model, family, "model")
    inference = fit(inference, model, family, "inference")
    return Problem(model, family, inference, fit(objective, model, family, "objective"))


def fit(component: Any, model: Model, family: Family, place: str = "") -> Any:
    """Return `component` for this pair: it and its parts, or what they choose where they choose.

    `place` is where it stands in the configuration, so that a remedy can name its key.

    Raises:
        ConfigError: if the pair does not offer what it needs.
    """
    chosen = _chosen(component, model, family)
    require(chosen, model, family, place)
    return chosen


def _chosen(component: Any, model: Model, family: Family) -> Any:
    if is_dataclass(component) and isinstance(component, Chooser):
        component = component.choose(model, family)
    parts = _parts(component)
    chosen = {name: _chosen(part, model, family) for name, part in parts.items()}
    changed = {name: part for name, part in chosen.items() if part is not parts[name]}
    return replace(component, **changed) if changed else component


def require(component: Any, model: Model, family: Family, place: str = "") -> None:
    """Raise ConfigError unless model and family offer all that `component` and its parts need."""
    for where, part in _with_needs(component, place):
        for need in missing(part, model, family):
            words, instead, _ = explained(need)
            raise ConfigError(
                f"{_name(part)} needs {words}; got {_name(model)} with {_name(family)}. "
                f"{instead.format(place=where or 'refine')}".rstrip()
            )


def _with_needs(component: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield those that have needs among the component and its parts, and their places."""
    if is_dataclass(component) and hasattr(type(component), "needs"):
        yield place, component
    for name, part in _parts(component).items():
        # An optimiser of steps is set with them: avi's groups are those that hold both.
        yield from _with_needs(part, place if name == "optimizer" else f"{place}.{name}".strip("."))


def _parts(component: Any) -> dict[str, Any]:
    """Return the fields of a component, none of a plain value."""
    if not is_dataclass(component):
        return {}
    return {field.name: getattr(component, field.name) for field in fields(component)}


def require_same_latent(model: Model, family: Family) -> None:
    """Raise ConfigError unless the latents of both live in one space."""
    if model.latent != family.latent:
        raise ConfigError(
            f"{_name(family)} lives on {_describe(family.latent)}, but the latent of "
            f"{_name(model)} on {_describe(model.latent)}. Try {_latents(model, family)}."
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


def _latents(model: Model, family: Family) -> str:
    """Return what to type so that both latents are one."""
    (space, size), other = model.latent, family.latent
    if space == other.space:
        return f"model.latent_size={other.size}, or leave family.latent_size out"
    known = {
        "real": "family=diagonal_gaussian or family=full_rank_gaussian",
        "simplex": "family=dirichlet",
        "category": "family=categorical",
    }
    return known.get(space, f"a family of your own on it, of size {size}")


def require_shapes(problem: Problem, data: DataSpec) -> None:
    """Refuse parts whose methods do not take these data or do not return what a protocol says.

    A density without its sum over entries would train, on numbers that are no bound. Nothing is
    computed or compiled.

    Raises:
        ConfigError: names the method, what it returned and what it should return.
    """
    key, x = jax.random.key(0), data.example
    model, family = problem.model, problem.family
    lam = _shape(family, "init", family.init)
    psi: Psi = ()
    if isinstance(family, SharedWeights):
        psi = _shape(family, "init_psi", family.init_psi, key)

    def of_family(name: str) -> Callable[..., Any]:
        return lambda psi, *arguments: getattr(given(family, psi), name)(*arguments)

    z = _shape(family, "sample", of_family("sample"), psi, lam, key)
    theta = _shape(model, "init", lambda: problem.init(key, data)).theta
    for name in ("log_prob", "entropy"):
        if hasattr(family, name):
            _require_scalar(family, name, _shape(family, name, of_family(name), psi, lam, z))
    checks: list[tuple[str, tuple]] = [
        ("log_prior", (theta,)),
        ("log_joint", (theta, x, z)),
        ("log_likelihood", (theta, x, z)),
        ("log_evidence", (theta, x)),
    ]
    for name, arguments in checks:
        if hasattr(model, name):
            _require_scalar(model, name, _shape(model, name, getattr(model, name), *arguments))
    objective = problem.objective
    bound = _shape(
        objective,
        "__call__",
        lambda psi, lam, theta: problem.local(theta, x, psi).bound(lam, key),
        psi,
        lam,
        theta,
    )
    for part, shape in zip(("value", "surrogate"), bound, strict=True):
        _require_scalar(objective, part, shape)
    _require_simulator(model, _shape(model, "sample", model.sample, theta, key, x), z, x)
    if isinstance(model, Decodable):
        mean = _shape(model, "decode", model.decode, theta, z, x)
        if _layout(mean) != _layout(x):
            raise ConfigError(
                f"{_name(model)}.decode returned {_layout(mean)}; it is the mean of x, here "
                f"{_layout(x)}."
            )


def _shape(part: Any, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the shapes of what a method returns; what it raises on these data is explained."""
    try:
        return jax.eval_shape(function, *arguments)
    except ConfigError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"{_name(part)}.{name} does not go with these data ({reason}, at "
            f"{Path(where.filename).name}, line {where.lineno}). Is this the data set that the "
            "model is for? `avi list dataset` names them."
        ) from error


def _require_scalar(part: Any, name: str, found: Any) -> None:
    if getattr(found, "shape", None) == ():
        return
    what = f"shape {tuple(found.shape)}" if hasattr(found, "shape") else f"{found}"
    raise ConfigError(
        f"{_name(part)}.{name} returned {what}; it is one number for one datapoint, in nats. "
        "Sum over the entries: return (...).sum()."
    )


def _require_simulator(model: Model, drawn: Any, z: Any, x: X) -> None:
    """Refuse a simulator whose draws do not look like the latent and the data."""
    same = isinstance(drawn, tuple) and len(drawn) == 2
    if not same or _layout(drawn[0]) != _layout(z) or _layout(drawn[1]) != _layout(x):
        raise ConfigError(
            f"{_name(model)}.sample returned {_layout(drawn)}; it draws (z, x), here "
            f"{(_layout(z), _layout(x))}."
        )


def _layout(tree: Any) -> Any:
    """Return a tree with the shape of each array in its place."""
    return jax.tree.map(lambda leaf: tuple(jax.numpy.shape(leaf)), tree)
