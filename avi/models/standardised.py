"""A model of standardised x as a model of x: its densities stay in the person's units.

With y = (x - m) / s, log p(x) = log p(y) - sum_i log s_i. The constant belongs to every density and
to no gradient, so bounds, evidence and gaps are those of x, while theta, its starts and its priors
are of the scale of y. Encoders see y, too (`avi.problem`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp

from avi.types import DataSpec, Model, PRNGKey, Scalar, Scale, Theta, X, Z

# The methods of a model and its abilities, by what they do with x; a test holds the protocols
# against these lists. What is in none of them is not handed on.
DENSITIES = ("log_joint", "log_likelihood", "concave_log_likelihood", "log_evidence", "elbo")
READERS = ("coordinate_update", "em_step")
APART = (
    "log_prior", "latent", "layer_sizes", "prior", "support", "bound_name", "supports",
    "mean_globals", "remarks",
    "observed",  # which entries there are, as they are
    "likelihood",
)  # fmt: skip


@dataclass(frozen=True)
class Standardised:
    """What is common to the standardised forms of all models; `standardised` makes one."""

    model: Any
    means: tuple[float, ...]  # m
    deviations: tuple[float, ...]  # s

    def standard(self, x: X) -> X:
        """Return y; entries that are missing stay 0. Leading axes are kept."""
        mean, deviation = jnp.asarray(self.means, float), jnp.asarray(self.deviations, float)
        if isinstance(x, dict):
            return x | {"value": (x["value"] - x["mask"] * mean) / deviation}
        return (x - mean) / deviation

    def restored(self, y: X) -> X:
        """Return x."""
        mean, deviation = jnp.asarray(self.means, float), jnp.asarray(self.deviations, float)
        if isinstance(y, dict):
            return y | {"value": y["value"] * deviation + y["mask"] * mean}
        return y * deviation + mean

    def log_jacobian(self, x: X) -> Scalar:
        """Return log |dy / dx| of the entries that are there, in nats."""
        logs = jnp.log(jnp.asarray(self.deviations, float))
        return -jnp.sum(x["mask"] * logs) if isinstance(x, dict) else -jnp.sum(logs)


def standardised(model: Model, scale: Scale) -> Model:
    """Return the model of x that is `model` of standardised x; it has the abilities of `model`."""
    numbers = (tuple(map(float, part)) for part in scale)
    found: Model = _form_of(type(model))(model, *numbers)
    return found


@lru_cache
def _form_of(kind: type) -> Callable[..., Any]:
    """Return the class, with those methods that `kind` has: an ability is what has its methods."""
    own = {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
    made: dict[str, Any] = {name: property(_handed_on(name)) for name in APART if name in own}
    made |= {name: _density(name) for name in DENSITIES if name in own}
    made |= {name: _reader(name) for name in READERS if name in own}
    made |= {name: maker for name, maker in MAKERS.items() if name in own}
    return type(kind.__name__, (Standardised,), {**made, "__module__": __name__})


def _handed_on(name: str) -> Callable[[Any], Any]:
    return lambda self: getattr(self.model, name)


def _density(name: str) -> Callable[..., Scalar]:
    def density(self: Standardised, theta: Theta, x: X, *others: Any) -> Scalar:
        value: Scalar = getattr(self.model, name)(theta, self.standard(x), *others)
        return value + self.log_jacobian(x)

    return density


def _reader(name: str) -> Callable[..., Any]:
    def reader(self: Standardised, theta: Theta, x: X, *others: Any) -> Any:
        return getattr(self.model, name)(theta, self.standard(x), *others)

    return reader


def _init(self: Standardised, key: PRNGKey, data: DataSpec) -> Theta:
    sample = None if data.sample is None else self.standard(data.sample)
    example, mean = self.standard(data.example), self.standard(data.mean)
    return self.model.init(key, data._replace(example=example, mean=mean, sample=sample))


def _sample(self: Standardised, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
    z, y = self.model.sample(theta, key, self.standard(like))
    return z, self.restored(y)


def _decode(self: Standardised, theta: Theta, z: Z, like: X) -> X:
    return self.restored(self.model.decode(theta, z, self.standard(like)))


def _emit(self: Standardised, theta: Theta, z: Z, key: PRNGKey, like: X) -> X:
    return self.restored(self.model.emit(theta, z, key, self.standard(like)))


MAKERS = {"init": _init, "sample": _sample, "decode": _decode, "emit": _emit}
