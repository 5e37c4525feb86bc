"""What families of independent coordinates on R^d share: a mean and a log scale for each."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.types import Lam, Latent


def refuse_empty(latent_size: int) -> None:
    """Raise ValueError unless there is a latent."""
    if latent_size < 1:
        raise ValueError(f"latent_size must be 1 or more; got {latent_size}.")


@dataclass(frozen=True)
class Coordinates:
    """Coordinates mean_i + s_i t_i with independent t_i, lam = [mean, log s], float[2d]."""

    latent_size: int  # d

    def __post_init__(self) -> None:
        refuse_empty(self.latent_size)

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def num_params(self) -> int:
        """P = 2d."""
        return 2 * self.latent_size

    def init(self) -> Lam:
        """Return lam of mean 0 and s = 1."""
        return jnp.zeros(self.num_params)

    def split(self, lam: Lam) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """Return (mean, log s)."""
        mean, log_scale = jnp.split(lam, 2)
        return mean, log_scale

    def mean(self, lam: Lam) -> Float[Array, " d"]:
        """Return E[z]."""
        return self.split(lam)[0]
