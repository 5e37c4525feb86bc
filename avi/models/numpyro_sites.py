"""The sites of a NumPyro function: what they are on one row, and the values that they are given."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from math import prod
from threading import RLock
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from avi.errors import ConfigError
from avi.randomness import for_simulators
from avi.types import PRNGKey, Theta

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


def traced(
    function: Callable[..., Any],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    key: PRNGKey,
    sites: "Sites | None" = None,
) -> dict[str, Any]:
    """Return the trace of a function called with these arguments; `sites` gives the values."""
    positional, named = arguments
    with ONE_AT_A_TIME, handlers.seed(rng_seed=for_simulators(key)), sites or nullcontext():
        found: dict[str, Any] = handlers.trace(function).get_trace(*positional, **named)
    return found


def at_medians(function: Callable[..., Any], key: PRNGKey) -> Callable[..., Any]:
    """Return the function with each site that is drawn at the median of some of its draws."""
    seeded = handlers.seed(function, for_simulators(key))
    at: Callable[..., Any] = handlers.substitute(seeded, substitute_fn=init_to_median())
    return at


def read(
    name: str, trace: dict[str, Any], plate: str, given: Mapping[str, Array], length: int
) -> Layout:
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
            if not within(site, plate):
                raise ConfigError(
                    f"{name}: the site {where} is observed outside the plate {plate}: avi scores "
                    "one observation at a time."
                )
            observed.append((where, _argument(name, site, given, observed)))
        elif not fn.support.is_discrete:
            size += _size(site) if within(site, plate) else 0
        elif not (within(site, plate) and fn.has_enumerate_support):
            raise ConfigError(
                f"{name}: the discrete site {where} cannot be summed over: it is "
                + ("without a finite support." if within(site, plate) else "global.")
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


class Sites(Messenger):
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
        local = within(msg, self.plate)
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


def within(site: Mapping[str, Any], plate: str) -> bool:
    """Whether a site stands in the plate."""
    return any(frame.name == plate for frame in site["cond_indep_stack"])


def is_free(site: Mapping[str, Any]) -> bool:
    """Whether a site is drawn and has no data."""
    return site["type"] == "sample" and not site["is_observed"]


def is_local(site: Mapping[str, Any], plate: str) -> bool:
    """Whether a site is part of a row's latent."""
    # Where all is drawn, the observed ones are those that had a value.
    return is_free(site) and within(site, plate) and not site.get("was_observed", False)


def _size(site: Mapping[str, Any]) -> int:
    """Return how many unconstrained numbers stand for a site."""
    return prod(biject_to(site["fn"].support).inverse_shape(site["fn"].shape()))


def unconstrained(site: Mapping[str, Any]) -> Any:
    """Return the value of a site or a parameter, carried to R^d."""
    if site["type"] == "sample":
        return biject_to(site["fn"].support).inv(site["value"])
    constraint = site["kwargs"].get("constraint", real)
    return site["value"] if constraint is real else biject_to(constraint).inv(site["value"])


def _constrained(site: Mapping[str, Any], kept: Any) -> Any:
    constraint = site["kwargs"].get("constraint", real)
    return kept if constraint is real else biject_to(constraint)(kept)
