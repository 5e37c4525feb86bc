"""Counts with log-normal rates: the ELBO of a Gaussian q is known in closed form."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import LocationScale
from avi.conjugate import LOG_TWO_PI
from avi.models import entries
from avi.types import DataSpec, Family, Lam, Latent, PRNGKey, Scalar, Support, Theta, X, Z


@dataclass(frozen=True)
class PoissonLogNormal:
    """z ~ N(0, I), x_i | z ~ Poisson(exp((W z + mu)_i)) (Aitchison & Ho 1989).

    theta = {"weight": W [size, d], "mean": mu [size]}. x is an array, or {"mask", "value"} where
    some counts are missing.
    """

    latent_size: int  # d

    def __post_init__(self) -> None:
        if self.latent_size < 1:
            raise ValueError(f"latent_size must be 1 or more; got {self.latent_size}.")

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def support(self) -> Support:
        """0, 1, 2, ..."""
        return "count"

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return small random W and mu at the log of the data mean."""
        mean = jnp.ravel(entries.mean_of(data.mean))
        weight = 0.1 * jax.random.normal(key, (mean.size, self.latent_size))
        return {"weight": weight, "mean": jnp.log(jnp.maximum(mean, 0.01))}

    def observed(self, x: X) -> tuple[Array, Array]:
        """Return the counts in x, and for each 1 if it was seen and 0 if it is missing."""
        return entries.observed(x)

    def log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return sum_i x_i l_i - e^(l_i) - log x_i! in nats, l = W z + mu."""
        log_rate = theta["weight"] @ z + theta["mean"]
        return _log_poisson(x, log_rate, jnp.exp(log_rate))

    def concave_log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return the log likelihood: linear minus exponentials of linear functions of z."""
        return self.log_likelihood(theta, x, z)

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) + log N(z; 0, I) in nats."""
        return self.log_likelihood(theta, x, z) - 0.5 * jnp.sum(z**2 + LOG_TWO_PI)

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0: theta is a parameter, without a prior."""
        del theta
        return jnp.zeros(())

    def supports(self, family: Family) -> bool:
        """Whether `elbo` is that of the family: of Gaussians."""
        return isinstance(family, LocationScale)

    def elbo(self, theta: Theta, x: X, family: Any, lam: Lam) -> Scalar:
        """Return the ELBO of a Gaussian q: under it l is normal, so E[e^l] = e^(mean + var / 2)."""
        mean, root = family.affine(lam)
        log_rate = theta["weight"] @ mean + theta["mean"]
        spread = jnp.sum((theta["weight"] @ root) ** 2, axis=1)
        expected = _log_poisson(x, log_rate, jnp.exp(log_rate + 0.5 * spread))
        prior = -0.5 * jnp.sum(mean**2 + jnp.sum(root**2, axis=1) + LOG_TWO_PI)
        return expected + prior + family.entropy(lam, mean)

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the model; `like` gives the shape of x and what is missing of it."""
        latent_key, x_key = jax.random.split(key)
        z = jax.random.normal(latent_key, (self.latent_size,))
        return z, self.emit(theta, z, x_key, like)

    def emit(self, theta: Theta, z: Z, key: PRNGKey, like: X) -> X:
        """Draw x given z; `like` gives the shape of x and what is missing of it."""
        rate = self._rate(theta, z)
        return entries.like(jax.random.poisson(key, rate).astype(rate.dtype), like)

    def decode(self, theta: Theta, z: Z, like: X) -> X:
        """Return E[x | z]; `like` gives the shape of x and what is missing of it."""
        return entries.like(self._rate(theta, z), like)

    def _rate(self, theta: Theta, z: Z) -> Array:
        return jnp.exp(theta["weight"] @ z + theta["mean"])


def _log_poisson(x: X, log_rate: Array, rate: Array) -> Scalar:
    value = jnp.ravel(entries.inside(x))
    return entries.total(value * log_rate - rate - jax.scipy.special.gammaln(value + 1), x)
