"""Linear-Gaussian state space: one latent path for each observed sequence."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.conjugate import LOG_TWO_PI
from avi.errors import ConfigError
from avi.types import DataSpec, Latent, PRNGKey, Scalar, Support, Theta, X, Z


@dataclass(frozen=True)
class StateSpace:
    """z_1 ~ N(0, 1), z_t ~ N(a z_(t-1), 1 - a^2), x_t ~ N(z_t, s^2); x and z are whole sequences.

    theta = {"arctanh_persistence": arctanh a, "log_scale": log s}. An encoder that sees one x_t at
    a time cannot close its gap: the posterior of z_t depends on the whole sequence.
    """

    latent_size: int  # T, the length of a sequence

    own_units: ClassVar[bool] = True  # one scale for all times

    def __post_init__(self) -> None:
        if self.latent_size < 2:
            raise ValueError(f"latent_size is the length, 2 or more; got {self.latent_size}.")

    @property
    def latent(self) -> Latent:
        """R^T."""
        return Latent("real", self.latent_size)

    @property
    def support(self) -> Support:
        """The real line."""
        return "real"

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return a = 0.5 and s = 1.

        Raises:
            ConfigError: if the sequences are not of length latent_size.
        """
        del key
        length = jnp.size(data.example)
        if length != self.latent_size:
            raise ConfigError(
                f"a sequence of length {length} has a latent of that size; got "
                f"{self.latent_size}. Try model.latent_size={length}."
            )
        persistence = jnp.full((), 0.5, float)
        return {"arctanh_persistence": jnp.arctanh(persistence), "log_scale": jnp.zeros(())}

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) + log p(z) in nats."""
        persistence = jnp.tanh(theta["arctanh_persistence"])
        moves = _log_normal(z[1:], persistence * z[:-1], 1 - persistence**2)
        measured = _log_normal(jnp.ravel(x), z, jnp.exp(2 * theta["log_scale"]))
        return measured.sum() + moves.sum() + _log_normal(z[0], jnp.zeros(()), jnp.ones(()))

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0: theta is a parameter, without a prior."""
        del theta
        return jnp.zeros(())

    def log_evidence(self, theta: Theta, x: X) -> Scalar:
        """Return the sum of log p(x_t | x_1 ... x_(t-1)) in nats, by the Kalman filter."""
        persistence = jnp.tanh(theta["arctanh_persistence"])
        noise = jnp.exp(2 * theta["log_scale"])

        def filtered(carry: tuple[Array, Array], seen: Array) -> tuple[tuple, Array]:
            mean, variance = carry  # of z_t given x_1 ... x_(t-1)
            log_density = _log_normal(seen, mean, variance + noise)
            gain = variance / (variance + noise)
            mean, variance = mean + gain * (seen - mean), (1 - gain) * variance
            ahead = persistence**2 * variance + 1 - persistence**2
            return (persistence * mean, ahead), log_density

        first = (jnp.zeros_like(noise), jnp.ones_like(noise))
        return jax.lax.scan(filtered, first, jnp.ravel(x))[1].sum()

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the model; `like` gives the shape of x."""
        latent_key, x_key = jax.random.split(key)
        persistence = jnp.tanh(theta["arctanh_persistence"])
        noise = jax.random.normal(latent_key, (self.latent_size,))

        def move(state: Array, eps: Array) -> tuple[Array, Array]:
            state = persistence * state + jnp.sqrt(1 - persistence**2) * eps
            return state, state

        z = jnp.concatenate([noise[:1], jax.lax.scan(move, noise[0], noise[1:])[1]])
        scale = jnp.exp(theta["log_scale"])
        return z, (z + scale * jax.random.normal(x_key, z.shape)).reshape(like.shape)


def _log_normal(value: Array, mean: Array, variance: Array) -> Array:
    return -0.5 * ((value - mean) ** 2 / variance + LOG_TWO_PI + jnp.log(variance))
