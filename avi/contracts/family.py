"""What a family must fulfil: density, draws, entropy and moments are those of one distribution."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avi.abilities import (
    Enumerable,
    JointlyDrawn,
    KnownDensity,
    KnownEntropy,
    Natural,
    Reparametrised,
    StandardNormalKL,
    Stratified,
)
from avi.conjugate import LOG_TWO_PI
from avi.contracts.claims import Claim, drawn, exactly, mean_is, projected, with_weights
from avi.types import Family, PRNGKey

WIDER = 1.4  # the reference density of the total probability, in standard deviations of q


def claims(family: Family, draws: int = 20_000) -> Iterator[Claim]:
    """Yield what holds of a family, at a member that is not its standard one."""
    family = with_weights(family)
    start = family.init()
    shape = (family.num_params,)
    yield Claim("init has num_params entries", start.shape == shape, f"shape {start.shape}")
    if start.shape != shape:
        return
    lam = start + 0.6 * jax.random.normal(jax.random.key(7), shape)
    mean, deviation = jax.jit(lambda: (family.mean(lam), family.standard_deviation(lam)))()
    z = drawn(lambda key: family.sample(lam, key), draws)
    if isinstance(family, KnownDensity):
        yield from _of_density(family, lam, z, draws)
    values = jax.nn.one_hot(z, family.latent.size) if family.latent.space == "category" else z
    yield mean_is("mean is that of the draws", values, mean)
    yield mean_is("standard_deviation is that of the draws", (values - mean) ** 2, deviation**2)
    if isinstance(family, Reparametrised):
        yield from _of_transport(family, lam, z, draws)
    if isinstance(family, JointlyDrawn) and isinstance(family, KnownDensity):
        yield _of_joint_draws(family, lam)
    if isinstance(family, Stratified):
        yield _of_strata(family, lam, z, draws)
    if isinstance(family, Natural):
        yield _of_natural_steps(family, lam)


def _of_density(family: Any, lam: Array, z: Array, draws: int) -> Iterator[Claim]:
    """It is that of the draws, it is one, and what else is known follows from it."""
    scores = jax.jit(jax.vmap(lambda z: projected(jax.grad(family.log_prob)(lam, z))))(z)
    yield mean_is("the draws are of the density (its score has mean 0)", scores)
    log_prob = jax.jit(jax.vmap(lambda z: family.log_prob(lam, z)))
    if isinstance(family, KnownEntropy):
        entropy = jax.jit(jax.vmap(lambda z: family.entropy(lam, z)))(z)
        yield mean_is("entropy is the mean of -log q", entropy + log_prob(z))
    if isinstance(family, StandardNormalKL):
        away = log_prob(z) + 0.5 * jnp.sum(z**2 + LOG_TWO_PI, axis=-1)
        known = family.kl_to_standard_normal(lam)
        yield mean_is("kl_to_standard_normal is the mean of log q - log N(z; 0, I)", away, known)
    if isinstance(family, Enumerable):
        logs = log_prob(family.points())
        yield exactly("probabilities sum to 1", np.exp(logs).sum(), 1.0, 1e-5)
    elif family.latent.space == "real":

        def ratio(key: PRNGKey) -> Array:
            mean, deviation = family.mean(lam), WIDER * family.standard_deviation(lam)
            eps = jax.random.normal(key, mean.shape)
            reference = -0.5 * jnp.sum(eps**2 + LOG_TWO_PI) - jnp.log(deviation).sum()
            return jnp.exp(family.log_prob(lam, mean + deviation * eps) - reference)

        yield mean_is("the density integrates to 1", drawn(ratio, draws, seed=2), 1.0)
    elif family.latent.space == "simplex":
        parts = family.latent.size
        volume = jax.scipy.special.gammaln(parts)

        def height(key: PRNGKey) -> Array:
            point = jax.random.dirichlet(key, jnp.ones(parts))
            return jnp.exp(family.log_prob(lam, point) - volume)

        yield mean_is("the density integrates to 1", drawn(height, draws, seed=2), 1.0)


def _of_transport(family: Any, lam: Array, z: Array, draws: int) -> Iterator[Claim]:
    """Draws and their derivatives in lam are those of the density, and noise is symmetric."""
    moved = drawn(lambda key: family.transport(lam, family.noise(key)), draws, seed=3)
    yield mean_is("transport(noise) has the mean of sample", moved - z)
    yield mean_is("noise is symmetric", drawn(lambda key: family.noise(key) ** 3, draws, seed=4))
    weights = jax.random.normal(jax.random.key(5), (z.shape[-1],))

    def derivative(key: PRNGKey) -> Array:
        eps = family.noise(key)
        return projected(jax.grad(lambda lam: weights @ family.transport(lam, eps))(lam))

    known = jax.jit(lambda: projected(jax.grad(lambda lam: weights @ family.mean(lam))(lam)))()
    paths = drawn(derivative, draws, seed=6)
    yield mean_is("transport moves with lam as mean does", paths, known)


def _of_joint_draws(family: Any, lam: Array) -> Claim:
    """What is known of a draw in passing is what its density says, by an inverse."""

    def both(key: PRNGKey) -> tuple[Array, Array]:
        z, log_q = family.transport_and_log_prob(lam, family.noise(key))
        return log_q, family.log_prob(lam, z)

    log_q, expected = map(np.asarray, drawn(both, 100, seed=9))
    worst = float(np.abs(expected - log_q).max())
    size = 1 + float(np.abs(log_q).max())
    return Claim("transport_and_log_prob agrees with log_prob", worst < 1e-3 * size, f"{worst:.1e}")


def _of_strata(family: Any, lam: Array, z: Array, draws: int) -> Claim:
    """Draws from every component, counted by their weights, are draws from q."""

    def mean(key: PRNGKey) -> Array:
        each, log_weights = family.strata(lam, family.noise(key))
        return jnp.exp(log_weights) @ each**2

    return mean_is("strata have the second moments of sample", drawn(mean, draws, seed=3) - z**2)


def _of_natural_steps(family: Any, lam: Array) -> Claim:
    gradients = 0.1 * jax.random.normal(jax.random.key(8), (16, family.num_params))
    rate = 1e-2

    def rise(gradient: Array) -> Array:
        return (family.natural_step(lam, gradient, rate) - lam) @ gradient / rate

    least = float(jnp.min(jax.jit(jax.vmap(rise))(gradients)))
    return Claim("natural_step goes uphill", least > 0, f"least slope {least:.1e}")
