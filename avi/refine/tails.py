"""What draws of q never see: the part of a mean that lies where hardly any of them falls."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avi.abilities import Drawn, Noisy
from avi.refine.jumps import strata
from avi.types import Lam, Local, PRNGKey, Scalar

AXES = 8  # of the noise of one row that are looked along, and as many other directions
BLOCK = 10  # places decoded at a time
RARE = 3.0  # standard deviations: beyond is one draw of 400
END = 13.0  # beyond, the normal density times the largest number of single precision is nothing
SEEN = np.linspace(-RARE, RARE, 5)  # from where the rest is foretold
_UNIT, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_OUT = 0.5 * (END - RARE) * (_UNIT + 1) + RARE
_MASS = 0.5 * (END - RARE) * _WEIGHTS * np.exp(-0.5 * _OUT**2) / np.sqrt(2 * np.pi)
TAILS, MASS = np.concatenate([_OUT, -_OUT]), np.concatenate([_MASS, _MASS])
FORETELL = np.vander(TAILS, len(SEEN)) @ np.linalg.inv(np.vander(SEEN, len(SEEN)))


class Unseen(NamedTuple):
    """What the tails of q hold that nothing nearer foretells; no finite number where no mean is."""

    value: Scalar  # nats of the bound
    decrement: Scalar  # nats that a certificate lacks by their gradient


def unseen(local: Local, lam: Lam, key: PRNGKey) -> Unseen:
    """Return what draws too rare to be seen hold of a bound that is a mean over draws, in nats.

    Lines go through draws of the noise, along its axes and across them. On each, log p(x, z) is set
    against the quartic through five places that draws do see, and what it has not foretold is
    integrated over the tails. In coordinates of unit Fisher matrix the gradient lacks the mean of
    that times the scores t and (t^2 - 1) / sqrt(2), a decrement half of their squares. The largest
    of all lines counts.
    """
    family = local.family
    if not (isinstance(family, Noisy) and isinstance(local.objective, Drawn)):
        return Unseen(jnp.zeros(()), jnp.zeros(()))
    draw_key, axis_key, way_key = jax.random.split(key, 3)
    ways = _ways(family.noise(draw_key).size, axis_key, way_key)
    draws = jax.vmap(family.noise)(jax.random.split(draw_key, len(ways)))
    values, decrements = jax.lax.map(lambda line: _along(local, lam, *line), (draws, ways))
    return Unseen(values.max(), decrements.max())


def _ways(size: int, axis_key: PRNGKey, way_key: PRNGKey) -> Float[Array, "L n"]:
    """Return unit vectors: axes, and as many in random directions where there are others."""
    axes = jax.random.permutation(axis_key, jnp.eye(size))[:AXES]
    if size == 1:
        return axes
    across = jax.random.normal(way_key, axes.shape)
    return jnp.concatenate([axes, across / jnp.linalg.norm(across, axis=1, keepdims=True)])


def _along(local: Local, lam: Lam, draw: Array, way: Array) -> tuple[Scalar, Scalar]:
    """Return the nats and the decrement of one line through a draw."""
    family: Any = local.family
    model, theta, x = local.target
    around = draw - (draw @ way) * way

    def at(place: Array) -> Scalar:
        z, log_weights = strata(family, lam, around + place * way)
        return jnp.exp(log_weights) @ jax.vmap(lambda one: model.log_joint(theta, x, one))(z)

    t, mass, foretell = (jnp.asarray(each, draw.dtype) for each in (TAILS, MASS, FORETELL))
    places = jnp.concatenate([t, jnp.asarray(SEEN, draw.dtype)])
    there, seen = jnp.split(jax.lax.map(at, places, batch_size=BLOCK), [len(TAILS)])
    left = mass * (there - foretell @ seen)
    mean, scale = left @ t, left @ (t**2 - 1) / jnp.sqrt(2.0)
    return jnp.abs(left.sum()), 0.5 * (mean**2 + scale**2)
