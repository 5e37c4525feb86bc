"""Gaussian mixture with parameters theta and a finite latent: exact by enumeration."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.conjugate import LOG_TWO_PI
from avi.types import DataSpec, Latent, PRNGKey, Scalar, Support, Theta, X, Z


@dataclass(frozen=True)
class Mixture:
    """z ~ Categorical(softmax(logits)), x | z = k ~ N(mean_k, diag(s_k^2)).

    theta = {"logits": [K], "mean": [K, size], "log_scale": [size] or [K, size]}. With shared scales
    the posterior is an affine softmax of x; with own scales it is quadratic in x.
    """

    latent_size: int  # K, components
    scales: Literal["shared", "own"]
    floor: float  # smallest s, in the units of x: a component on one point has no maximum

    def __post_init__(self) -> None:
        if self.latent_size < 2:
            raise ValueError(f"latent_size must be 2 or more; got {self.latent_size}.")
        if not self.floor > 0:
            raise ValueError(f"floor must be positive; got {self.floor}. Try model.floor=0.01.")

    @property
    def latent(self) -> Latent:
        """One of K categories."""
        return Latent("category", self.latent_size)

    @property
    def support(self) -> Support:
        """The real line."""
        return "real"

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return equal weights, means around the data mean and unit scales."""
        mean = jnp.ravel(data.mean)
        spread = jax.random.normal(key, (self.latent_size, mean.size))
        shape = mean.shape if self.scales == "shared" else spread.shape
        logits = jnp.zeros(self.latent_size)
        return {"logits": logits, "mean": mean + spread, "log_scale": jnp.zeros(shape)}

    def log_joints(self, theta: Theta, x: X) -> Float[Array, " K"]:
        """Return log p(x, z = k) for every k."""
        scale = jnp.exp(jnp.maximum(theta["log_scale"], jnp.log(self.floor)))
        scale = jnp.broadcast_to(scale, theta["mean"].shape)
        residual = (jnp.ravel(x) - theta["mean"]) / scale
        log_density = -0.5 * jnp.sum(residual**2 + LOG_TWO_PI, axis=1) - jnp.sum(
            jnp.log(scale), axis=1
        )
        return jax.nn.log_softmax(theta["logits"]) + log_density

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x, z) in nats."""
        return self.log_joints(theta, x)[z]

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0: theta is a parameter, without a prior."""
        del theta
        return jnp.zeros(())

    def log_evidence(self, theta: Theta, x: X) -> Scalar:
        """Return log p(x) in nats, the sum over all components."""
        return jax.nn.logsumexp(self.log_joints(theta, x))

    def em_step(self, theta: Theta, x: X) -> Theta:
        """Return theta after one step of EM on rows x [n, ...]: weighted means and variances."""
        rows = x.reshape(len(x), -1)
        shares = jax.nn.softmax(jax.vmap(self.log_joints, (None, 0))(theta, x))  # [n, K]
        number = jnp.maximum(shares.sum(0), 1e-6)  # a component that no row belongs to stays finite
        mean = shares.T @ rows / number[:, None]
        squares = jnp.einsum("nk,nki->ki", shares, (rows[:, None] - mean) ** 2)
        if self.scales == "shared":
            variance = squares.sum(0) / len(rows)
        else:
            variance = squares / number[:, None]
        log_scale = 0.5 * jnp.log(jnp.maximum(variance, self.floor**2))
        return {"logits": jnp.log(number / len(rows)), "mean": mean, "log_scale": log_scale}

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the model; `like` gives the shape of x."""
        latent_key, x_key = jax.random.split(key)
        z = jax.random.categorical(latent_key, theta["logits"])
        scale = jnp.exp(jnp.maximum(theta["log_scale"], jnp.log(self.floor)))
        scale = jnp.broadcast_to(scale, theta["mean"].shape)[z]
        x = theta["mean"][z] + scale * jax.random.normal(x_key, scale.shape)
        return z, x.reshape(like.shape)
