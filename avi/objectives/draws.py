"""Draws from q as smooth functions of lam, and what an objective asks of each."""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array

from avi.abilities import KnownEntropy, Noisy, Stratified, draw_and_log_prob
from avi.types import Bound, Family, Lam, PRNGKey, Scalar, Target


def draw_noise(family: Noisy, key: PRNGKey, num_samples: int, *, antithetic: bool) -> Array:
    """Return [S, ...] draws of the family's noise; antithetic: the second half mirrors the first.

    Mirrored draws keep every estimator unbiased because the noise of all families is symmetric.
    """
    num_drawn = num_samples // 2 if antithetic else num_samples
    noise = jax.vmap(family.noise)(jax.random.split(key, num_drawn))
    return jnp.concatenate([noise, -noise]) if antithetic else noise


def mean_over(function: Callable[[Array], Array], noise: Array) -> Array:
    """Return the mean of `function` over the draws."""
    if len(noise) == 1:
        # Without an axis for one draw XLA forms weight gradients faster (docs/performance.md).
        return function(noise[0])
    return jax.vmap(function)(noise).mean()


def refuse_draws(num_samples: int, *, antithetic: bool = False) -> None:
    """Raise ValueError unless S is positive, and even if the draws are antithetic."""
    if num_samples < 1:
        raise ValueError(f"num_samples must be 1 or more; got {num_samples}.")
    if antithetic and num_samples % 2:
        raise ValueError(
            f"antithetic draws come in pairs; got num_samples={num_samples}. "
            f"Try num_samples={num_samples + 1} or antithetic=false."
        )


def elbo_of(target: Target, family: Any, lam: Lam, eps: Array) -> Scalar:
    """Return log p(x, z) - log q(z) of one draw, with the entropy for -log q where it is known.

    Of a mixture it is the mean over one draw from each component.
    """
    model, theta, x = target
    if isinstance(family, Stratified):
        of_mixture: Any = family
        each, log_weights = family.strata(lam, eps)
        ratios = jax.vmap(lambda z: model.log_joint(theta, x, z) - of_mixture.log_prob(lam, z))
        return jnp.exp(log_weights) @ ratios(each)
    if isinstance(family, KnownEntropy):
        z = family.transport(lam, eps)  # type: ignore[attr-defined]
        return model.log_joint(theta, x, z) + family.entropy(lam, z)
    z, log_q = draw_and_log_prob(family, lam, eps)
    return model.log_joint(theta, x, z) - log_q


def reconstruction_and_divergence(
    target: Target, family: Any, lam: Lam, noise: Array
) -> tuple[Scalar, Scalar]:
    """Return the mean of log p(x | z) over the draws, and the exact KL(q || N(0, I))."""
    model: Any = target.model

    def reconstruction(eps: Array) -> Array:
        return model.log_likelihood(target.theta, target.x, family.transport(lam, eps))

    return mean_over(reconstruction, noise), family.kl_to_standard_normal(lam)


def by_score(
    of_weights: Callable[[Array], Scalar],
    number: int,
    target: Target,
    family: Any,
    lam: Lam,
    key: PRNGKey,
) -> Bound:
    """Return a bound that is a function of the log weights of draws, without derivatives of z.

    Mnih & Rezende (2016), eqs. 5-8: the learning signal of a draw is the bound less the bound with
    that draw's weight replaced by the geometric mean of the others, so that it is unbiased.
    """

    def one(draw_key: PRNGKey) -> tuple[Array, Array]:
        z = stop_gradient(family.sample(lam, draw_key))
        log_q = family.log_prob(lam, z)
        return target.model.log_joint(target.theta, target.x, z) - log_q, log_q

    log_weights, log_q = jax.vmap(one)(jax.random.split(key, number))
    value = of_weights(log_weights)
    fixed = stop_gradient(log_weights)
    others = (fixed.sum() - fixed) / (number - 1)
    replaced = jnp.where(jnp.eye(number, dtype=bool), others[:, None], fixed)
    signal = stop_gradient(value) - jax.vmap(of_weights)(replaced)
    return Bound(value, value + signal @ (log_q - stop_gradient(log_q)))


def noise_size(family: Any) -> int:
    """Return how many numbers one draw of the family's noise is."""
    return prod(jax.eval_shape(family.noise, jax.random.key(0)).shape)


def draws_per_noise(family: Family) -> int:
    """Return how many z, and evaluations of log p(x, z), one draw of the noise gives."""
    return family.components if isinstance(family, Stratified) else 1
