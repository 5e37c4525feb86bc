"""x of which entries may be missing: {"mask", "value"}, mask 1 where value was seen, else 0.

A model of x without gaps is one of an array; these functions let it take both.
"""

import jax.numpy as jnp
from jaxtyping import Array

from avi.types import X

INSIDE = 1.0  # lies in every support: stands for a missing value where a density is computed


def value_of(x: X) -> Array:
    """Return the entries of x, 0 where one is missing."""
    found: Array = x["value"] if isinstance(x, dict) else x
    return found


def mean_of(mean: X) -> Array:
    """Return the mean of each entry where it was seen, given the mean of x; 0 if it never was."""
    if not isinstance(mean, dict):
        return jnp.asarray(mean)
    found: Array = mean["value"] / jnp.maximum(mean["mask"], 1e-6)
    return found


def observed(x: X) -> tuple[Array, Array]:
    """Return the entries of x, and for each 1 if it was seen and 0 if it is missing."""
    if isinstance(x, dict):
        return jnp.ravel(x["value"]), jnp.ravel(x["mask"])
    value = jnp.ravel(x)
    return value, jnp.ones_like(value)


def inside(x: X) -> Array:
    """Return the entries of x, and a value of every support for those that are missing."""
    return jnp.where(x["mask"] > 0, x["value"], INSIDE) if isinstance(x, dict) else x


def total(terms: Array, x: X) -> Array:
    """Return the sum of one term for each entry, of those that were seen."""
    if not isinstance(x, dict):
        return terms.sum()
    return jnp.where(x["mask"] > 0, terms.reshape(x["mask"].shape), 0.0).sum()


def like(value: Array, x: X) -> X:
    """Return `value` in the shape of x, missing where x is."""
    if isinstance(x, dict):
        return x | {"value": value.reshape(x["value"].shape) * x["mask"]}
    return value.reshape(x.shape)
