"""Any NumPyro function with one plate over its data, as a model of one latent per observation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from math import prod
from threading import RLock
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.errors import ConfigError
from avi.randomness import for_simulators
from avi.types import DataSpec, Latent, PRNGKey, Scalar, Support, Theta, X, Z

try:
    from numpyro import handlers
    from numpyro.distributions import Unit, biject_to
    from numpyro.distributions.constraints import real
    from numpyro.infer.initialization import init_to_median
    from numpyro.primitives import Messenger
except ModuleNotFoundError as error:
    raise ConfigError(
        "model=numpyro needs NumPyro, an extra of avi. Try pip install 'avi[numpyro]'."
    ) from error

MOST = 4096  # combinations of discrete local values that are summed over
ONE_AT_A_TIME = RLock()  # NumPyro's handlers stand in a list of the process, not of the thread


class Layout(NamedTuple):
    """What a function turned out to hold, at data of one shape."""

    plate: str
    size: int  # of z: unconstrained numbers in its continuous local sites
    choices: tuple[int, ...]  # of each discrete local value, the number of values it takes
    observed: tuple[tuple[str, str], ...]  # sites with data, and the argument that holds them


@dataclass(frozen=True)
class NumpyroFunction:
    """log p(x, z; theta) of a NumPyro function, called with one row of data at a time.

    Sites in the plate over the data are local. Those that are continuous make up z, in the order in
    which the function meets them, each carried to R^d by the bijection of its support, whose log
    Jacobian is counted; those that are discrete are summed over, or are z itself where there is one
    and nothing else (`space` category). Sites outside are global: theta holds their unconstrained
    values and `log_prior` their log density (without a Jacobian: a maximum in it is that of the
    posterior mode), beside the values of `numpyro.param`. The plate's subsampling and scale are not
    used: batches and N / B are avi's.
    """

    function: Callable[..., Any]
    latent_size: int  # D, or K for one category
    space: Literal["real", "category"]
    plate: str | None  # over the data; None: the one that is as long as they are
    # Argument -> columns of x; None: x is the only argument.
    inputs: Mapping[str, tuple[int, ...]] | None = field(hash=False)
    support: ClassVar[Support] = "any"
    _columns: tuple[tuple[str, tuple[int, ...]], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.latent_size < 1:
            raise ValueError(f"latent_size must be 1 or more; got {self.latent_size}.")
        object.__setattr__(self, "_columns", tuple((self.inputs or {}).items()))

    @property
    def latent(self) -> Latent:
        """R^D, or one of K categories."""
        return Latent(self.space, self.latent_size)

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return unconstrained medians of the priors of global sites, and initial parameters.

        An array without elements keeps the shape of x, which the function needs to be called.

        Raises:
            ConfigError: if the function is not of the form above, or z has another size.
        """
        if not hasattr(data.example, "shape"):
            raise ConfigError(f"{self._name} is given rows of numbers; these data are none.")
        layout = self._layout(jnp.shape(data.example))
        self._require_size(layout)
        seeded = handlers.seed(self.function, for_simulators(key))
        start = handlers.substitute(seeded, substitute_fn=init_to_median())
        sites = _Sites(layout.plate, None)
        trace = self._traced(start, jnp.asarray(data.example)[None], sites, key)
        values = {
            name: biject_to(site["fn"].support).inv(site["value"])
            for name, site in trace.items()
            if _is_free(site) and not _within(site, layout.plate)
        }
        given = {
            name: _unconstrained(site) for name, site in trace.items() if site["type"] == "param"
        }
        return {"like": jnp.zeros((0, *jnp.shape(data.example))), "sites": values, "params": given}

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x, z) in nats, discrete values that are not z summed over."""
        layout = self._layout(jnp.shape(x))
        if self.space == "category":
            return self._density(theta, x[None], jnp.zeros((1, 0)), z[None, None]).local
        if not layout.choices:
            return self._density(theta, x[None], z[None], jnp.zeros((1, 0), int)).local
        each = np.indices(layout.choices).reshape(len(layout.choices), -1).T

        def at(choice: Array) -> Array:
            return self._density(theta, x[None], z[None], choice[None]).local

        return jax.nn.logsumexp(jax.vmap(at)(jnp.asarray(each)))

    def of_rows(self, theta: Theta, x: X, z: Z) -> Float[Array, "2"]:
        """Return the log density of rows in one call, and that of the global sites, in nats.

        Discrete values beside a continuous z are the first of each. What a function computes from
        all of its rows, such as their mean, is another thing for one row: where these are not the
        sums over rows alone, `log_joint` is not that of the function.

        Raises:
            ConfigError: the function cannot be called with so many rows.
        """
        choices = self._layout(jnp.shape(x)[1:]).choices
        nothing = jnp.zeros((len(x), len(choices)), int)
        real_z = (z, nothing) if self.space == "real" else (jnp.zeros((len(x), 0)), z[:, None])
        try:
            return jnp.stack(self._density(theta, x, *real_z))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(
                f"{self._name} cannot be called with {len(x)} rows ({reason}). avi calls it with "
                "one row at a time, so what it knows of a row comes in its arguments: try "
                "model.inputs."
            ) from error

    def log_prior(self, theta: Theta) -> Scalar:
        """Return the log density of the global sites in nats."""
        x = jnp.ones(theta["like"].shape[1:])
        layout = self._layout(x.shape)
        size = 0 if self.space == "category" else self.latent_size
        nothing = jnp.zeros((1, len(layout.choices)), int)
        return self._density(theta, x[None], jnp.zeros((1, size)), nothing).outside

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the function; what it is given and not observed is that of `like`."""
        layout = self._layout(jnp.shape(like))
        sites = _Sites(layout.plate, theta, draws=True)
        trace = self._traced(self.function, jnp.asarray(like)[None], sites, key)
        local = [one for one in trace.values() if _is_local(one, layout.plate)]
        if self.space == "category":
            (site,) = local
            values = site["fn"].enumerate_support(expand=False).ravel()
            z = jnp.argmax(values == site["value"].ravel())
        else:
            continuous = [one for one in local if not one["fn"].support.is_discrete]
            parts = [biject_to(one["fn"].support).inv(one["value"]).ravel() for one in continuous]
            z = jnp.concatenate(parts)
        return z, self._assembled(like, {to: trace[name]["value"] for name, to in layout.observed})

    def _assembled(self, like: X, values: Mapping[str, Array]) -> X:
        """Return x with these arguments in place of those of `like`."""
        if not self._columns:
            (value,) = values.values()
            return value.reshape(like.shape).astype(like.dtype)
        columns = dict(self._columns)
        for name, value in values.items():
            like = like.at[np.array(columns[name])].set(value.ravel().astype(like.dtype))
        return like

    def _arguments(self, rows: Array) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the function is called with, each with the rows in front."""
        self._require_arguments(rows)
        if not self._columns:
            return (rows,), {}
        named = {
            name: rows[:, np.array(columns)] if len(columns) > 1 else rows[:, columns[0]]
            for name, columns in self._columns
        }
        return (), named

    def _require_arguments(self, rows: Array) -> None:
        """Refuse `inputs` that are not the arguments of the function, or not columns of x."""
        known = signature(self.function).parameters.values()
        named = [one.name for one in known if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        needed = [one.name for one in known if one.default is one.empty and one.name in named]
        offer = ", ".join(f"{name}: [<columns of x>]" for name in needed)
        given = [name for name, _ in self._columns]
        lacking = [name for name in needed if name not in given] if given else needed[1:]
        if lacking or (len(known) == len(named) and not set(given) <= set(named)):
            raise ConfigError(
                f"the arguments of {self._name} are {', '.join(named)}; got "
                f"{', '.join(given) or 'x alone'}. Try 'model.inputs={{{offer}}}'."
            )
        columns = [column for _, several in self._columns for column in several]
        width = rows.shape[-1]
        strange = [column for column in columns if not 0 <= column < width]
        if strange or len(set(columns)) < len(columns) or not all(one for _, one in self._columns):
            what = f"{strange[0]} is none" if strange else "each stands once, for one argument"
            raise ConfigError(f"model.inputs: the columns of x are 0 to {width - 1}; {what}.")

    def _traced(self, function: Callable[..., Any], x: X, sites: "_Sites", key: PRNGKey) -> dict:
        """Return the trace of the function on these rows."""
        positional, named = self._arguments(x)
        with ONE_AT_A_TIME, handlers.seed(rng_seed=for_simulators(key)), sites:
            found: dict = handlers.trace(function).get_trace(*positional, **named)
        return found

    def _density(self, theta: Theta, x: X, z: Array, choice: Int[Array, "n c"]) -> "_Density":
        """Return log densities of rows [n, ...] at z [n, D] and discrete values [n, c]."""
        plate = self._layout(jnp.shape(x)[1:]).plate
        sites = _Sites(plate, theta, z=z, choice=choice)
        trace = self._traced(self.function, x, sites, jax.random.key(0))
        local, outside = sites.log_jacobian, jnp.zeros(())
        for site in trace.values():
            if site["type"] != "sample":
                continue
            density = site["fn"].log_prob(site["value"]).sum()
            if _within(site, plate):
                local += density
            else:
                outside += density
        return _Density(local, outside)

    def _require_size(self, layout: Layout) -> None:
        if self.space == "category":
            if layout.size or len(layout.choices) != 1:
                raise ConfigError(
                    f"space=category is for one discrete local site and no other; "
                    f"{self._name} has {layout.size} continuous and {len(layout.choices)} "
                    f"discrete values for each observation. Try model.space=real."
                )
            found = layout.choices[0]
        else:
            found = layout.size
            if not found:
                raise ConfigError(
                    f"{self._name} has no continuous local site. Try model.space=category "
                    f"model.latent_size={layout.choices[0] if layout.choices else 2} "
                    "family=categorical."
                )
        if found != self.latent_size:
            raise ConfigError(
                f"the local sites of {self._name} hold {found} "
                f"{'categories' if self.space == 'category' else 'numbers'} for each observation; "
                f"got {self.latent_size}. Try model.latent_size={found}."
            )

    @property
    def _name(self) -> str:
        return str(getattr(self.function, "__name__", self.function))

    def _layout(self, shape: tuple[int, ...]) -> Layout:
        return _layout_of(self.function, self._columns, self.plate, shape)


class _Density(NamedTuple):
    local: Scalar
    outside: Scalar  # of the global sites


@lru_cache(maxsize=64)
def _layout_of(
    function: Callable[..., Any],
    columns: tuple[tuple[str, tuple[int, ...]], ...],
    plate: str | None,
    shape: tuple[int, ...],
) -> Layout:
    """Return what the function holds; nothing of it is computed."""
    model = NumpyroFunction(function, 1, "real", plate, dict(columns) or None)
    name = model._name
    plate = plate or _plate_of(model, shape)
    found: list[Layout] = []

    def look(rows: Array) -> Array:
        positional, named = model._arguments(rows)
        sites = _Sites(plate, None)
        with ONE_AT_A_TIME, handlers.seed(rng_seed=jax.random.key(0)), sites:
            trace = handlers.trace(function).get_trace(*positional, **named)
        if sites.length is None:
            raise ConfigError(f"{name} has no plate {plate}. Try model.plate=null.")
        given = named or {"x": positional[0]}
        found.append(_read(name, trace, plate, given, sites.length))
        return rows

    jax.eval_shape(look, jax.ShapeDtypeStruct((1, *shape), jnp.result_type(float)))
    return found[0]


def _plate_of(model: NumpyroFunction, shape: tuple[int, ...]) -> str:
    """Return the plate that is as long as the data."""
    sizes: list[dict[str, int]] = []

    def look(rows: Array) -> Array:
        positional, named = model._arguments(rows)
        with ONE_AT_A_TIME, handlers.seed(rng_seed=jax.random.key(0)):
            trace = handlers.trace(model.function).get_trace(*positional, **named)
        frames = [one for site in trace.values() for one in site.get("cond_indep_stack", ())]
        sizes.append({frame.name: frame.size for frame in frames})
        return rows

    for number in (2, 3):
        jax.eval_shape(look, jax.ShapeDtypeStruct((number, *shape), jnp.result_type(float)))
    plates = [name for name, size in sizes[0].items() if size != sizes[1].get(name)]
    if len(plates) > 1:
        raise ConfigError(
            f"{model._name} has several plates over the data ({', '.join(plates)}); avi has one "
            "latent per observation. Try a function with one, and the others inside an observation."
        )
    if not plates:
        raise ConfigError(
            f"{model._name} has no plate that is as long as its data: say numpyro.plate('data', "
            "len(x)) in it, or name the one that is meant: model.plate=<name>."
        )
    return plates[0]


def _read(name: str, trace: dict, plate: str, given: Mapping[str, Array], length: int) -> Layout:
    """Return the layout of a trace on one row, or refuse what cannot be carried."""
    size, choices, observed = 0, list[int](), list[tuple[str, str]]()
    for site in trace.values():
        if site["type"] != "sample":
            continue
        where, fn = site["name"], site["fn"]
        if site["scale"] is not None and site["scale"] not in (1, length):
            raise ConfigError(
                f"{name}: the site {where} is scaled (numpyro.handlers.scale, or a plate that is "
                "subsampled inside an observation), which a density is not."
            )
        if site["is_observed"]:
            if isinstance(_base(fn), Unit):
                raise ConfigError(f"{name}: the factor {where} is a density without a simulator.")
            if not _within(site, plate):
                raise ConfigError(
                    f"{name}: the site {where} is observed outside the plate {plate}: avi scores "
                    "one observation at a time."
                )
            observed.append((where, _argument(name, site, given, observed)))
        elif not fn.support.is_discrete:
            size += _size(site) if _within(site, plate) else 0
        elif not (_within(site, plate) and fn.has_enumerate_support):
            raise ConfigError(
                f"{name}: the discrete site {where} cannot be summed over: it is "
                + ("without a finite support." if _within(site, plate) else "global.")
            )
        else:
            choices += [len(fn.enumerate_support(expand=False))] * prod(fn.batch_shape)
    if prod(choices) > MOST:
        raise ConfigError(
            f"{name}: the discrete local sites take {prod(choices)} values together; avi sums over "
            f"{MOST} at most."
        )
    if not observed:
        raise ConfigError(f"{name}: no site is observed. Say numpyro.sample(..., obs=x) in it.")
    return Layout(plate, size, tuple(choices), tuple(observed))


def _argument(
    name: str, site: Mapping[str, Any], given: Mapping[str, Array], before: list[tuple[str, str]]
) -> str:
    """Return the argument whose values a site observes: simulated ones go there."""
    same = [key for key, value in given.items() if value is site["value"]]
    if len(given) == 1 and not before:
        same = list(given)
    elif not same and site["name"] in given:
        same = [site["name"]]
    if same and given[same[0]].size != site["value"].size:
        raise ConfigError(
            f"{name}: the site {site['name']} observes {site['value'].size} of the "
            f"{given[same[0]].size} numbers in a row. Give it an argument of its own: "
            f"model.inputs={{{site['name']}: [<columns of x>], ...}}."
        )
    if same:
        return same[0]
    raise ConfigError(
        f"{name}: nobody can tell which argument the site {site['name']} observes. Give it one of "
        f"its own, of the same name: model.inputs={{{site['name']}: [<columns of x>], ...}}."
    )


class _Sites(Messenger):
    """Gives every site its value: global ones from theta, local ones from z and a choice.

    Without theta nothing is given; with `draws` local sites, observed ones too, are drawn.
    """

    def __init__(
        self,
        plate: str,
        theta: Theta | None,
        *,
        z: Array | None = None,
        choice: Array | None = None,
        draws: bool = False,
    ) -> None:
        super().__init__()
        self.plate, self.theta, self.draws = plate, theta, draws
        self.z, self.choice = z, choice
        self.rows = 1 if z is None else len(z)
        self.length: int | None = None  # of the plate, as the function has it
        self.first = self.first_choice = 0
        self.log_jacobian: Array = jnp.zeros(())

    def process_message(self, msg: dict) -> None:
        """Put the value in place, before a handler further out would draw one."""
        if msg["type"] == "plate" and msg["name"] == self.plate:
            # These rows, whatever part of how many the function asks for.
            self.length = msg["args"][0]
            msg["args"], msg["value"] = (self.rows, self.rows), jnp.arange(self.rows)
        elif msg["type"] == "param" and self.theta is not None:
            kept = self.theta["params"][msg["name"]]
            start: Any = msg["args"][0] if msg["args"] else None
            if hasattr(start, "shape") and jnp.shape(start) != jnp.shape(_constrained(msg, kept)):
                raise ConfigError(
                    f"the parameter {msg['name']} has one value for each row: theta is shared by "
                    "all of them. Give a row something of its own by a site in the plate."
                )
            msg["value"] = _constrained(msg, kept)
        elif msg["type"] == "sample" and self.theta is not None:
            self._sample(msg)

    def _sample(self, msg: dict) -> None:
        local = _within(msg, self.plate)
        if msg["is_observed"]:
            if self.draws and local:
                msg["is_observed"], msg["value"], msg["was_observed"] = False, None, True
        elif not local:
            assert self.theta is not None
            msg["value"] = biject_to(msg["fn"].support)(self.theta["sites"][msg["name"]])
        elif self.draws:
            return
        elif msg["fn"].support.is_discrete:
            msg["value"] = self._chosen(msg)
        else:
            msg["value"] = self._carried(msg)

    def _carried(self, msg: dict) -> Array:
        assert self.z is not None
        transform, size = biject_to(msg["fn"].support), _size(msg) // self.rows
        shape = transform.inverse_shape(msg["fn"].shape())
        own = self._in_place(self.z[:, self.first : self.first + size], msg, shape)
        self.first += size
        value = transform(own)
        self.log_jacobian += transform.log_abs_det_jacobian(own, value).sum()
        return value

    def _chosen(self, msg: dict) -> Array:
        assert self.choice is not None
        fn = msg["fn"]
        values = fn.enumerate_support(expand=False)
        values = values.reshape(len(values), *fn.event_shape)
        number = prod(fn.batch_shape) // self.rows
        own = self.choice[:, self.first_choice : self.first_choice + number]
        self.first_choice += number
        return self._in_place(values[own], msg, fn.shape())

    def _in_place(self, each: Array, msg: dict, shape: tuple[int, ...]) -> Array:
        """Return the values of each row [n, ...] in the shape of a site, along its plate."""
        (dim,) = [frame.dim for frame in msg["cond_indep_stack"] if frame.name == self.plate]
        axis = len(msg["fn"].batch_shape) + dim
        return jnp.moveaxis(each.reshape(len(each), *shape[:axis], *shape[axis + 1 :]), 0, axis)


def _base(fn: Any) -> Any:
    """Return a distribution without what a plate or a mask puts around it."""
    return _base(fn.base_dist) if hasattr(fn, "base_dist") else fn


def _within(site: Mapping[str, Any], plate: str) -> bool:
    return any(frame.name == plate for frame in site["cond_indep_stack"])


def _is_free(site: Mapping[str, Any]) -> bool:
    return site["type"] == "sample" and not site["is_observed"]


def _is_local(site: Mapping[str, Any], plate: str) -> bool:
    # Where all is drawn, the observed ones are those that had a value.
    return _is_free(site) and _within(site, plate) and not site.get("was_observed", False)


def _size(site: Mapping[str, Any]) -> int:
    """Return how many unconstrained numbers stand for a site."""
    return prod(biject_to(site["fn"].support).inverse_shape(site["fn"].shape()))


def _unconstrained(site: Mapping[str, Any]) -> Any:
    constraint = site["kwargs"].get("constraint", real)
    return site["value"] if constraint is real else biject_to(constraint).inv(site["value"])


def _constrained(site: Mapping[str, Any], kept: Any) -> Any:
    constraint = site["kwargs"].get("constraint", real)
    return kept if constraint is real else biject_to(constraint)(kept)
