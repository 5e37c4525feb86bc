"""Probabilistic PCA and factor analysis: the model whose gaps are known in closed form."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.conjugate import LOG_TWO_PI
from avi.models import entries
from avi.process.grammar import many, verb
from avi.types import DataSpec, Latent, PRNGKey, Scalar, Support, Theta, X, Z


@dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z + mu, Psi), Psi = s^2 I ("shared", PPCA) or diagonal ("diagonal").

    theta = {"weight": W [size, d], "mean": mu [size], "log_scale": log s, [] or [size]}.
    x is an array, or {"mask", "value"} where some entries are missing: mask is 1 where value was
    seen and 0 where it was not. Tipping & Bishop (1999). s never falls below `floor`: with d >= the
    rank of the data the evidence has no maximum (Dai & Wipf 2019).
    """

    latent_size: int  # d
    noise: Literal["shared", "diagonal"]
    floor: float  # smallest s, in the units of x

    def __post_init__(self) -> None:
        if self.latent_size < 1:
            raise ValueError(f"latent_size must be 1 or more; got {self.latent_size}.")
        if not self.floor > 0:
            raise ValueError(f"floor must be positive; got {self.floor}. Try model.floor=0.001.")

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def support(self) -> Support:
        """The real line."""
        return "real"

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return small random W, mu at the data mean and s = 1."""
        mean = jnp.ravel(entries.mean_of(data.mean))
        weight = 0.1 * jax.random.normal(key, (mean.size, self.latent_size))
        shape = () if self.noise == "shared" else mean.shape
        return {"weight": weight, "mean": jnp.asarray(mean, float), "log_scale": jnp.zeros(shape)}

    def observed(self, x: X) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        """Return the entries of x, and for each 1 if it was seen and 0 if it is missing."""
        return entries.observed(x)

    def scale(self, theta: Theta) -> Float[Array, " size"]:
        """Return s for every component of x."""
        log_scale = jnp.maximum(theta["log_scale"], jnp.log(self.floor))
        return jnp.broadcast_to(jnp.exp(log_scale), theta["mean"].shape)

    def log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log N(x; W z + mu, Psi) in nats."""
        value, seen = self.observed(x)
        scale = self.scale(theta)
        residual = (value - theta["weight"] @ z - theta["mean"]) / scale
        return -jnp.sum(seen * (0.5 * residual**2 + 0.5 * LOG_TWO_PI + jnp.log(scale)))

    concave_log_likelihood = log_likelihood  # quadratic in z

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) + log N(z; 0, I) in nats."""
        return self.log_likelihood(theta, x, z) - 0.5 * jnp.sum(z**2 + LOG_TWO_PI)

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0: theta is a parameter, without a prior."""
        del theta
        return jnp.zeros(())

    def posterior(self, theta: Theta, x: X) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """Return the mean m and the precision Lambda = I + W' Psi^-1 W of p(z | x)."""
        value, seen = self.observed(x)
        scaled = (seen / self.scale(theta))[:, None] * theta["weight"]
        precision = jnp.eye(self.latent_size) + scaled.T @ scaled
        residual = seen * (value - theta["mean"]) / self.scale(theta)
        return jnp.linalg.solve(precision, scaled.T @ residual), precision

    def log_evidence(self, theta: Theta, x: X) -> Scalar:
        """Return log N(x; mu, W W' + Psi) in nats, by the determinant and inversion lemmas."""
        value, seen = self.observed(x)
        mean, precision = self.posterior(theta, x)
        # At the posterior mean, where nothing large is subtracted from anything large.
        residual = seen * (value - theta["weight"] @ mean - theta["mean"]) / self.scale(theta)
        quadratic = jnp.sum(residual**2) + mean @ mean
        logs = jnp.sum(seen * (LOG_TWO_PI + 2 * jnp.log(self.scale(theta))))
        return -0.5 * (quadratic + jnp.linalg.slogdet(precision)[1] + logs)

    def em_step(self, theta: Theta, x: X) -> Theta:
        """Return theta after one step of EM on rows x [n, ...].

        The regression of x on E[z] (Rubin & Thayer 1982), and for speed the prior of z is let free
        in it and then folded into W and mu: PX-EM (Liu, Rubin & Wu 1998). Entries that were never
        seen keep their parameters.
        """
        value, seen = jax.vmap(self.observed)(x)
        mean, precision = jax.vmap(self.posterior, (None, 0))(theta, x)
        covariance = jnp.linalg.inv(precision)
        regressors = jnp.concatenate([mean, jnp.ones((len(mean), 1))], axis=1)  # E[z], 1
        uncertain = jnp.pad(covariance, ((0, 0), (0, 1), (0, 1)))
        second = uncertain + regressors[:, :, None] * regressors[:, None, :]
        number = seen.sum(0)
        gram = jnp.einsum("ni,nab->iab", seen, second)
        gram = jnp.where(number[:, None, None] > 0, gram, jnp.eye(len(gram[0])))
        fitted = jnp.linalg.solve(gram, ((seen * value).T @ regressors)[..., None])[..., 0]
        residual = seen * (value - regressors @ fitted.T)
        of_z = jnp.einsum("ia,ni,nab,ib->i", fitted, seen, uncertain, fitted)
        squares = jnp.sum(residual**2, 0) + of_z
        if self.noise == "shared":
            squares, number = squares.sum(), number.sum()
        variance = squares / jnp.maximum(number, 1)
        weight, centre = fitted[:, :-1], mean.mean(0)
        freed = covariance.mean(0) + (mean - centre).T @ (mean - centre) / len(mean)
        made = {
            "weight": weight @ jnp.linalg.cholesky(freed),
            "mean": fitted[:, -1] + weight @ centre,
            "log_scale": 0.5 * jnp.log(jnp.maximum(variance, self.floor**2)),
        }
        return jax.tree.map(partial(_where_seen, seen.sum(0) > 0), made, theta)

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the model; `like` gives the shape of x and what is missing of it."""
        latent_key, x_key = jax.random.split(key)
        z = jax.random.normal(latent_key, (self.latent_size,))
        return z, self.emit(theta, z, x_key, like)

    def emit(self, theta: Theta, z: Z, key: PRNGKey, like: X) -> X:
        """Draw x given z; `like` gives the shape of x and what is missing of it."""
        noise = self.scale(theta) * jax.random.normal(key, theta["mean"].shape)
        return entries.like(theta["weight"] @ z + theta["mean"] + noise, like)

    def decode(self, theta: Theta, z: Z, like: X) -> X:
        """Return E[x | z]; `like` gives the shape of x and what is missing of it."""
        return entries.like(theta["weight"] @ z + theta["mean"], like)

    def remarks(self, theta: Theta) -> list[str]:
        """Return a sentence if the floor holds a scale."""
        held = int(jnp.sum(theta["log_scale"] <= jnp.log(self.floor)))
        if not held:
            return []
        return [
            f"{many(held, 'scale')} of the noise {verb(held, 'are')} at the floor {self.floor}, "
            "which sets the bound."
        ]


def _where_seen(seen: Array, made: Array, before: Array) -> Array:
    """Return the rows of `made` whose entry of x was seen in some row, else those before."""
    return jnp.where(seen.reshape(-1, *[1] * (made.ndim - 1)), made, before) if made.ndim else made
