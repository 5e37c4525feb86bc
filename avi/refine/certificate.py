"""How many nats a lam still lacks to the best of its family: the certificate of convergence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from avi.abilities import ConcaveEntropy, Displaceable, LogConcave, Unrestricted
from avi.refine.jumps import hidden
from avi.refine.tails import unseen
from avi.types import Family, Lam, Local, PRNGKey, Scalar

BLOCKS = 4  # sets of draws on each side of the cross-fit
CONFIRMING_BLOCKS = 8  # the same of a confirmation, whose error bar must carry a quantile
# 97.5 % of Student's t with one degree of freedom less than there are blocks.
QUANTILES = {BLOCKS: 3.182, CONFIRMING_BLOCKS: 2.365}
MAX_ITERATIONS = 20  # of conjugate gradients
PROBE_ITERATIONS = 10  # the same from a random direction
DAMPING = 1e-6  # added to the curvature
DRAWS_AT_BOUNDARY = 8
FLAT = 1e-4  # curvature in units of the Fisher matrix below which a direction says nothing
ABSOLUTE_TOLERANCE = 1e-6  # of the residual: at an exact optimum relative ones underflow to NaN
RELATIVE_TOLERANCE = 0.03  # the decrement errs by the square of this


class Certificate(NamedTuple):
    """What is left to gain at one lam, in nats."""

    value: Scalar  # the cross-fitted Newton decrement; can be a little below zero
    standard_error: Scalar  # of its Monte Carlo noise
    newton: Lam  # where the Newton step leads; at a saddle, a step along the way out
    positive: Bool[Array, ""]  # the curvature is, beyond noise; if not, the value says little
    saddle: Bool[Array, ""]  # a direction bends upwards beyond the noise of fresh draws
    saturated: Bool[Array, ""]  # the gradient is exactly zero, and nothing bends
    boundary: Bool[Array, ""]  # q is a point in some coordinate, or beyond all numbers
    hidden: Scalar  # nats that jumps of log p(x, z) may hide; asked when confirming
    rare: Scalar  # nats that draws too rare to be seen may hide; asked when confirming
    guarantee: Scalar  # with 97.5 % confidence remaining nats <= this; NaN where no theory says so
    iterations: Int[Array, ""]  # Hessian-vector products


def certify(local: Local, lam: Lam, key: PRNGKey, *, confirming: bool = False) -> Certificate:
    """Return what lam lacks to the best member of its family.

    For a family of all distributions over a finite space that is the divergence from the posterior,
    known exactly wherever lam is. Elsewhere it is the Newton decrement g1' (-H)^-1 g2 / 2 at lam,
    g1 and g2 gradients on disjoint draws: cross-fitting removes the bias that noise gives the
    square of one gradient. The coordinates are those in which the Fisher matrix of the family is
    the identity, so conjugate gradients need no other preconditioner and |g|^2 / 2 is the Fisher
    form. The objective of `local` should be exact or moment-matched.

    A gradient cannot see a saddle whose symmetry the draws share, nor a jump, nor what is too rare
    for its draws. `confirming` looks along random directions too, for jumps and into the tails,
    with more draws: twice the cost, for a lam that would be reported.
    """
    if isinstance(local.family, Unrestricted):
        return _exactly(local, lam)
    displaced = coordinates(local.family, lam)
    origin = jnp.zeros_like(lam)
    blocks = CONFIRMING_BLOCKS if confirming else BLOCKS
    gradient_key, curvature_key, probe_key = jax.random.split(key, 3)

    def gradient(step: Lam, draw_key: PRNGKey) -> Lam:
        return jax.grad(lambda step: local.bound(displaced(step), draw_key).value)(step)

    def bend(draw_key: PRNGKey) -> Callable[[Lam], Lam]:
        """Return the product of -H, on these draws, with a vector."""
        _, curvature = jax.linearize(lambda step: gradient(step, draw_key), origin)
        return lambda vector: DAMPING * vector - curvature(vector)

    slopes = _slopes(local, lam, jax.random.split(gradient_key, (blocks, 2)))
    _, pull = jax.vjp(displaced, origin)
    first, second = jax.vmap(jax.vmap(lambda slope: pull(slope)[0]))(slopes)
    ascent = second.mean(axis=0)
    found = conjugate_gradients(bend(curvature_key), ascent, MAX_ITERATIONS)
    direction = jnp.where(found.positive, found.solution, ascent)
    value, error = _mean_and_error(0.5 * first @ direction)
    vanished = jnp.all(first == 0) & jnp.all(second == 0)
    behind_jumps = in_tails = jnp.zeros(())
    if confirming:
        # Keys that depend on what came before put one loop after the other: side by side, loops
        # of XLA's CPU runtime can wait for each other's threads for ever.
        probe = _probe(bend, found, jax.random.fold_in(probe_key, found.iterations))
        behind_jumps = hidden(local, lam, jax.random.fold_in(probe_key, probe.iterations))
        tail_key = jax.random.fold_in(probe_key, probe.iterations + jnp.isnan(behind_jumps))
        in_tails = unseen(local, lam, tail_key).decrement
    else:
        probe = Probe(found.positive, jnp.array(False), direction, found.smallest, jnp.array(0))
    return Certificate(
        value=value,
        standard_error=jnp.sqrt(2.0) * error,  # the noise of `second` counts as much
        newton=displaced(jnp.where(probe.saddle, probe.way_out, direction)),
        positive=found.positive & probe.positive,
        saddle=probe.saddle,
        saturated=vanished & (probe.smallest < FLAT),
        boundary=_at_boundary(local.family, lam, jax.random.fold_in(key, 1)),
        hidden=behind_jumps,
        rare=in_tails,
        guarantee=_guarantee(local, lam, slopes),
        iterations=found.iterations + probe.iterations,
    )


def _slopes(local: Local, lam: Lam, pairs: Array) -> Array:
    """Return gradients in lam on disjoint draws, [2, blocks, P]: the two sides of a cross-fit."""

    def slope(draw_key: PRNGKey) -> Lam:
        return jax.grad(lambda lam: local.bound(lam, draw_key).value)(lam)

    return jax.lax.map(slope, pairs.reshape(-1)).reshape(*pairs.shape, -1).swapaxes(0, 1)


def _mean_and_error(rows: Array) -> tuple[Scalar, Scalar]:
    return rows.mean(), rows.std(ddof=1) / len(rows) ** 0.5


def _exactly(local: Local, lam: Lam) -> Certificate:
    """Return KL(q || p(z | x)), which is what any q over a finite space lacks to the best one."""
    family: Any = local.family
    model, theta, x = local.target
    log_joint = jax.vmap(lambda z: model.log_joint(theta, x, z))(family.points())
    log_posterior = jax.nn.log_softmax(log_joint)
    log_q = jax.vmap(lambda z: family.log_prob(lam, z))(family.points())
    q = jnp.exp(log_q)
    # Where q has no mass, 0 (log 0 - log p) is 0.
    left = jnp.sum(jnp.where(q > 0, q * (log_q - log_posterior), 0.0))
    no, zero = jnp.array(False), jnp.zeros_like(left)
    best = family.of_logits(log_posterior).astype(lam.dtype)
    return Certificate(
        left, zero, best, ~no, no, no, no, zero, zero, left, jnp.zeros((), jnp.int32)
    )


def _at_boundary(family: Family, lam: Lam, key: PRNGKey) -> Bool[Array, ""]:
    """Return whether draws of a real latent are the same number, or none, in some coordinate."""
    if family.latent.space != "real":
        return jnp.array(False)
    z = jax.vmap(lambda key: family.sample(lam, key))(jax.random.split(key, DRAWS_AT_BOUNDARY))
    return jnp.any(jnp.ptp(z, axis=0) == 0) | ~jnp.isfinite(z).all()


class Probe(NamedTuple):
    """What a random direction has shown of the curvature: unclear where neither holds."""

    positive: Bool[Array, ""]
    saddle: Bool[Array, ""]
    way_out: Lam  # unit step along the direction that bends upwards
    smallest: Scalar  # curvature met on the way, in units of the Fisher matrix
    iterations: Int[Array, ""]


def _probe(
    bend: Callable[[PRNGKey], Callable[[Lam], Lam]],
    found: "Solved",
    key: PRNGKey,
) -> Probe:
    """Look for a direction that bends upwards, and test it on draws it was not found with.

    One that bends upwards on one set of draws may do so by noise: the mean over fresh sets tells,
    where it is above or below zero by two of its standard errors.
    """
    start_key, draw_key, test_key = jax.random.split(key, 3)
    start = jax.random.normal(start_key, found.solution.shape)
    probed = conjugate_gradients(bend(draw_key), start, PROBE_ITERATIONS)
    seen = jax.tree.map(lambda a, b: jnp.where(found.positive, a, b), probed, found)
    way = seen.last / jnp.maximum(jnp.linalg.norm(seen.last), jnp.finfo(start.dtype).tiny)

    def along(draw_key: PRNGKey) -> Scalar:
        return way @ bend(draw_key)(way)

    test_keys = jax.random.split(jax.random.fold_in(test_key, seen.iterations), BLOCKS)
    mean, error = _mean_and_error(jax.lax.map(along, test_keys))
    return Probe(
        positive=seen.positive | (mean > 2 * error),
        saddle=~seen.positive & (mean < -2 * error),
        way_out=way,
        smallest=seen.smallest,
        iterations=seen.iterations + BLOCKS,
    )


def coordinates(family: Family, lam: Lam) -> Callable[[Lam], Lam]:
    """Return step -> lam, with unit Fisher matrix at 0 where the family offers that."""
    if isinstance(family, Displaceable):
        scaled: Displaceable = family
        return lambda step: scaled.displace(lam, step)
    return lambda step: lam + step


class Solved(NamedTuple):
    """What conjugate gradients found."""

    solution: Array  # curvature^-1 right, if the curvature is positive
    positive: Bool[Array, ""]  # on the whole way
    last: Array  # the direction looked along last: where the curvature is not positive, if so
    smallest: Scalar  # curvature met, per unit of length squared
    iterations: Int[Array, ""]


def conjugate_gradients(
    curvature: Callable[[Array], Array],
    right: Array,
    most: int = MAX_ITERATIONS,
    relative: float = RELATIVE_TOLERANCE,
) -> Solved:
    """Solve curvature @ solution = right, as far as the curvature is positive on the way."""
    enough = jnp.maximum(relative * jnp.linalg.norm(right), ABSOLUTE_TOLERANCE)

    def unfinished(carry: tuple) -> Array:
        found, residual, _ = carry
        return found.positive & (jnp.linalg.norm(residual) > enough) & (found.iterations < most)

    def body(carry: tuple) -> tuple:
        found, residual, direction = carry
        image = curvature(direction)
        bend = direction @ image
        positive = bend > 0
        square = residual @ residual
        length = jnp.where(positive, square / jnp.where(positive, bend, 1.0), 0.0)
        new_residual = residual - length * image
        new_direction = new_residual + new_residual @ new_residual / square * direction
        solved = Solved(
            solution=found.solution + length * direction,
            positive=positive,
            last=direction,
            smallest=jnp.minimum(found.smallest, bend / (direction @ direction)),
            iterations=found.iterations + 1,
        )
        return solved, new_residual, new_direction

    nothing = jnp.zeros_like(right)
    infinite = jnp.full((), jnp.inf, right.dtype)
    start = Solved(nothing, jnp.array(True), right, infinite, jnp.zeros((), jnp.int32))
    found, _, _ = jax.lax.while_loop(unfinished, body, (start, right, right))
    return found


def _guarantee(local: Local, lam: Lam, slopes: Array) -> Scalar:
    """Return |g|^2 / 2 in (m, C), where the ELBO is 1-strongly concave, at its 97.5 % quantile.

    Challis & Barber (2013); Domke (2020): with z ~ N(0, I) and log p(x | z) concave in z, no member
    of the family is better by more than this.
    """
    family: Any = local.family
    if not (isinstance(local.target.model, LogConcave) and isinstance(family, ConcaveEntropy)):
        return jnp.asarray(jnp.nan)
    # (m, C) is elementwise in lam, so its Jacobian is the diagonal that a vector of ones reads off.
    _, stretch = jax.jvp(family.location_scale, (lam,), (jnp.ones_like(lam),))
    first, second = slopes / stretch
    value, error = _mean_and_error(0.5 * first @ second.mean(axis=0))
    return value + QUANTILES[slopes.shape[1]] * jnp.sqrt(2.0) * error
