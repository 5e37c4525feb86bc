"""Any NumPyro function with one plate over its data, as a model of one latent per observation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.errors import ConfigError
from avi.models.numpyro_sites import (
    Layout,
    Sites,
    at_medians,
    is_free,
    is_local,
    read,
    traced,
    unconstrained,
    within,
)
from avi.types import DataSpec, Latent, PRNGKey, Scalar, Support, Theta, X, Z


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
    inputs: Mapping[str, int | tuple[int, ...]] | None = field(hash=False)
    support: ClassVar[Support] = "any"
    own_units: ClassVar[bool] = True  # of its priors
    _columns: tuple[tuple[str, tuple[int, ...]], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.latent_size < 1:
            raise ValueError(f"latent_size must be 1 or more; got {self.latent_size}.")
        columns = tuple(
            (name, (one,) if isinstance(one, int) else tuple(one))
            for name, one in (self.inputs or {}).items()
        )
        object.__setattr__(self, "_columns", columns)

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
            raise ConfigError(f"{self.name} is given rows of numbers; these data are none.")
        layout = self._layout(jnp.shape(data.example))
        self._require_size(layout)
        arguments = self.arguments(jnp.asarray(data.example)[None])
        start = at_medians(self.function, key)
        trace = traced(start, arguments, key, Sites(layout.plate, None))
        values = {
            name: unconstrained(site)
            for name, site in trace.items()
            if is_free(site) and not within(site, layout.plate)
        }
        given = {
            name: unconstrained(site) for name, site in trace.items() if site["type"] == "param"
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
                f"{self.name} cannot be called with {len(x)} rows ({reason}). avi calls it with "
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
        sites = Sites(layout.plate, theta, draws=True)
        trace = traced(self.function, self.arguments(jnp.asarray(like)[None]), key, sites)
        local = [one for one in trace.values() if is_local(one, layout.plate)]
        if self.space == "category":
            (site,) = local
            values = site["fn"].enumerate_support(expand=False).ravel()
            z = jnp.argmax(values == site["value"].ravel())
        else:
            continuous = [one for one in local if not one["fn"].support.is_discrete]
            z = jnp.concatenate([unconstrained(one).ravel() for one in continuous])
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

    def arguments(self, rows: Array) -> tuple[tuple[Any, ...], dict[str, Any]]:
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
                f"the arguments of {self.name} are {', '.join(named)}; got "
                f"{', '.join(given) or 'x alone'}. Try 'model.inputs={{{offer}}}'."
            )
        columns = [column for _, several in self._columns for column in several]
        width = rows.shape[-1]
        strange = [column for column in columns if not 0 <= column < width]
        if strange or len(set(columns)) < len(columns) or not all(one for _, one in self._columns):
            what = f"{strange[0]} is none" if strange else "each stands once, for one argument"
            raise ConfigError(f"model.inputs: the columns of x are 0 to {width - 1}; {what}.")

    def _density(self, theta: Theta, x: X, z: Array, choice: Int[Array, "n c"]) -> "_Density":
        """Return log densities of rows [n, ...] at z [n, D] and discrete values [n, c]."""
        plate = self._layout(jnp.shape(x)[1:]).plate
        sites = Sites(plate, theta, z=z, choice=choice)
        trace = traced(self.function, self.arguments(x), jax.random.key(0), sites)
        local, outside = sites.log_jacobian, jnp.zeros(())
        for site in trace.values():
            if site["type"] != "sample":
                continue
            density = site["fn"].log_prob(site["value"]).sum()
            if within(site, plate):
                local += density
            else:
                outside += density
        return _Density(local, outside)

    def _require_size(self, layout: Layout) -> None:
        if self.space == "category":
            if layout.size or len(layout.choices) != 1:
                raise ConfigError(
                    f"space=category is for one discrete local site and no other; "
                    f"{self.name} has {layout.size} continuous and {len(layout.choices)} "
                    f"discrete values for each observation. Try model.space=real."
                )
            found = layout.choices[0]
        else:
            found = layout.size
            if not found:
                raise ConfigError(
                    f"{self.name} has no continuous local site. Try model.space=category "
                    f"model.latent_size={layout.choices[0] if layout.choices else 2} "
                    "family=categorical."
                )
        if found != self.latent_size:
            raise ConfigError(
                f"the local sites of {self.name} hold {found} "
                f"{'categories' if self.space == 'category' else 'numbers'} for each observation; "
                f"got {self.latent_size}. Try model.latent_size={found}."
            )

    @property
    def name(self) -> str:
        """What the function is called."""
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
    plate = plate or _plate_of(model, shape)
    found: list[Layout] = []

    def look(rows: Array) -> Array:
        positional, named = arguments = model.arguments(rows)
        sites = Sites(plate, None)
        trace = traced(function, arguments, jax.random.key(0), sites)
        if sites.length is None:
            raise ConfigError(f"{model.name} has no plate {plate}. Try model.plate=null.")
        given = named or {"x": positional[0]}
        found.append(read(model.name, trace, plate, given, sites.length))
        return rows

    jax.eval_shape(look, jax.ShapeDtypeStruct((1, *shape), jnp.result_type(float)))
    return found[0]


def _plate_of(model: NumpyroFunction, shape: tuple[int, ...]) -> str:
    """Return the plate that is as long as the data."""
    sizes: list[dict[str, int]] = []

    def look(rows: Array) -> Array:
        trace = traced(model.function, model.arguments(rows), jax.random.key(0))
        frames = [one for site in trace.values() for one in site.get("cond_indep_stack", ())]
        sizes.append({frame.name: frame.size for frame in frames})
        return rows

    for number in (2, 3):
        jax.eval_shape(look, jax.ShapeDtypeStruct((number, *shape), jnp.result_type(float)))
    plates = [name for name, size in sizes[0].items() if size != sizes[1].get(name)]
    if len(plates) > 1:
        raise ConfigError(
            f"{model.name} has several plates over the data ({', '.join(plates)}); avi has one "
            "latent per observation. Try a function with one, and the others inside an observation."
        )
    if not plates:
        raise ConfigError(
            f"{model.name} has no plate that is as long as its data: say numpyro.plate('data', "
            "len(x)) in it, or name the one that is meant: model.plate=<name>."
        )
    return plates[0]
