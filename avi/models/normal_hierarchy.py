"""Normal-Normal hierarchy: a common mean, an effect for each group, one measurement of each."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.conjugate import LOG_TWO_PI
from avi.errors import ConfigError
from avi.types import DataSpec, Latent, PRNGKey, Scalar, Support, Theta, X, Z


@dataclass(frozen=True)
class NormalHierarchy:
    """m ~ N(0, s0^2), t_j ~ N(m, tau^2), x_j ~ N(t_j, s_j^2) with known s_j; z = [m, t].

    x = {"scale": s [J], "value": x [J]}; theta = {"log_between": log tau}. The encoder has to see
    the scales: the posterior leans on the precise measurements.
    """

    latent_size: int  # J + 1
    prior_scale: float  # s0, in the units of x

    own_units: ClassVar[bool] = True  # of its prior

    def __post_init__(self) -> None:
        if self.latent_size < 2:
            raise ValueError(f"latent_size is J + 1, 2 or more; got {self.latent_size}.")
        if not self.prior_scale > 0:
            raise ValueError(f"prior_scale must be positive; got {self.prior_scale}.")

    @property
    def latent(self) -> Latent:
        """R^(J + 1)."""
        return Latent("real", self.latent_size)

    @property
    def support(self) -> Support:
        """The real line."""
        return "real"

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return tau = 1.

        Raises:
            ConfigError: if the observations are not of J = latent_size - 1 groups.
        """
        del key
        groups = jnp.size(data.example["value"])
        if groups + 1 != self.latent_size:
            raise ConfigError(
                f"an observation of {groups} groups has a latent of size {groups + 1}; got "
                f"{self.latent_size}. Try model.latent_size={groups + 1}."
            )
        return {"log_between": jnp.zeros(())}

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | t) + log p(t | m) + log p(m) in nats."""
        centre, effects = z[0], z[1:]
        measured = _log_normal(x["value"], effects, x["scale"])
        between = _log_normal(effects, centre, jnp.exp(theta["log_between"]))
        return measured.sum() + between.sum() + _log_normal(centre, 0.0, self.prior_scale)

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0: theta is a parameter, without a prior."""
        del theta
        return jnp.zeros(())

    def log_evidence(self, theta: Theta, x: X) -> Scalar:
        """Return log N(x; 0, s0^2 11' + diag(tau^2 + s^2)) in nats."""
        covariance = jnp.full((self.latent_size - 1,) * 2, self.prior_scale**2)
        covariance += jnp.diag(jnp.exp(2 * theta["log_between"]) + x["scale"] ** 2)
        mean = jnp.zeros(self.latent_size - 1)
        density = jax.scipy.stats.multivariate_normal.logpdf(x["value"], mean, covariance)
        return jnp.asarray(density)

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the model; the scales are those of `like`."""
        centre_key, effects_key, x_key = jax.random.split(key, 3)
        shape = like["value"].shape
        centre = self.prior_scale * jax.random.normal(centre_key)
        effects = centre + jnp.exp(theta["log_between"]) * jax.random.normal(effects_key, shape)
        value = effects + like["scale"] * jax.random.normal(x_key, shape)
        return jnp.concatenate([centre[None], effects]), like | {"value": value}


def _log_normal(value: Array, mean: Array | float, scale: Array | float) -> Float[Array, "..."]:
    return -0.5 * (((value - mean) / scale) ** 2 + LOG_TWO_PI) - jnp.log(scale)
