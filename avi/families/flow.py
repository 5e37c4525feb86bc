"""What flows have in common: a base, a transformation with weights, location and scale."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avi.conjugate import LOG_TWO_PI
from avi.families.coordinates import refuse_empty
from avi.families.localised import Localised
from avi.types import Family, Lam, Latent, Model, PRNGKey, Psi, Scalar, Z

STEEPEST = 2.0  # log of the largest factor of one affine layer
LOG_DRAWS = 10  # log2 of those that give mean and standard deviation, for which no formula is known


@dataclass(frozen=True)
class Flow:
    """z = mean + s T(eps, context; psi), eps ~ N(0, I), lam = [mean, log s, context].

    T is invertible in eps, its weights psi are shared by all datapoints (Rezende & Mohamed 2015),
    and what it does to one of them moves with the context of that one (Kingma et al. 2016, section
    3). Location and scale stand outside T: q moves and stretches without it.

    A flow says what T is: `init_psi`, `forward` and `inverse`.
    """

    latent_size: int  # d
    context: int  # numbers per datapoint that the transformation sees
    weights: Literal["shared", "own"]  # own: psi is part of lam
    psi: Psi | None = field(default=None, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        refuse_empty(self.latent_size)
        refuse_small(self, context=0)

    def choose(self, model: Model, family: Family) -> Family:
        """Return itself, or with weights of each datapoint's own the localised family."""
        del model, family
        return self if self.weights == "shared" else Localised(replace(self, weights="shared"))

    def init_psi(self, key: PRNGKey) -> Psi:
        """Return weights at which T is the identity."""
        raise NotImplementedError

    def forward(self, context: Array, eps: Array) -> tuple[Array, Scalar]:
        """Return T(eps) and the log determinant of its Jacobian."""
        raise NotImplementedError

    def inverse(self, context: Array, h: Array) -> tuple[Array, Scalar]:
        """Return the eps of T(eps) = h and the log determinant of the Jacobian of T there."""
        raise NotImplementedError

    def given(self, psi: Psi) -> Self:
        """Return the flow at these weights."""
        return replace(self, psi=psi)

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def num_params(self) -> int:
        """P = 2d and the context."""
        return 2 * self.latent_size + self.context

    def init(self) -> Lam:
        """Return lam of mean 0, s = 1 and context 0."""
        return jnp.zeros(self.num_params)

    def split(self, lam: Lam) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " c"]]:
        """Return (mean, log s, context)."""
        mean, log_scale, context = jnp.split(lam, [self.latent_size, 2 * self.latent_size])
        return mean, log_scale, context

    def noise(self, key: PRNGKey) -> Float[Array, " d"]:
        """Draw eps ~ N(0, I)."""
        return jax.random.normal(key, (self.latent_size,))

    def transport(self, lam: Lam, eps: Float[Array, " d"]) -> Z:
        """Return z = mean + s T(eps)."""
        return self.transport_and_log_prob(lam, eps)[0]

    def transport_and_log_prob(self, lam: Lam, eps: Float[Array, " d"]) -> tuple[Z, Scalar]:
        """Return z of this noise and log q(z), in one pass and without an inverse."""
        mean, log_scale, context = self.split(lam)
        h, stretch = self.forward(context, eps)
        log_q = -0.5 * jnp.sum(eps**2 + LOG_TWO_PI) - stretch - jnp.sum(log_scale)
        return mean + jnp.exp(log_scale) * h, log_q

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return self.transport(lam, self.noise(key))

    def log_prob(self, lam: Lam, z: Z) -> Scalar:
        """Return log q(z; lam) in nats, by the inverse."""
        mean, log_scale, context = self.split(lam)
        eps, stretch = self.inverse(context, (z - mean) * jnp.exp(-log_scale))
        return -0.5 * jnp.sum(eps**2 + LOG_TWO_PI) - stretch - jnp.sum(log_scale)

    def mean(self, lam: Lam) -> Float[Array, " d"]:
        """Return E[z] by quasi-Monte Carlo."""
        return self._draws(lam).mean(axis=0)

    def standard_deviation(self, lam: Lam) -> Float[Array, " d"]:
        """Return the marginal standard deviations, by the same draws."""
        return self._draws(lam).std(axis=0)

    def member(self, mean: Float[Array, " d"], deviation: Float[Array, " d"]) -> Lam:
        """Return lam with this location and scale around T at context 0."""
        return jnp.concatenate([mean, jnp.log(deviation), jnp.zeros(self.context)])

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return mean + s u, log s + v / sqrt(2) and context + w, step = [u, v, w]."""
        mean, log_scale, context = self.split(lam)
        mean_step, scale_step, context_step = self.split(step)
        moved = mean + jnp.exp(log_scale) * mean_step
        scaled = log_scale + jnp.sqrt(0.5) * scale_step
        return jnp.concatenate([moved, scaled, context + context_step])

    def _draws(self, lam: Lam) -> Float[Array, "n d"]:
        noise = jnp.asarray(_normal_points(self.latent_size), lam.dtype)
        return jax.vmap(lambda eps: self.transport(lam, eps))(noise)


def refuse_small(flow: Flow, **least: int) -> None:
    """Raise ValueError where a number of the flow is below the least that makes sense."""
    for name, limit in least.items():
        if getattr(flow, name) < limit:
            raise ValueError(f"{name} must be {limit} or more; got {getattr(flow, name)}.")


@lru_cache
def _normal_points(size: int) -> Float[np.ndarray, "n d"]:
    """Return points that fill N(0, I) evenly: Sobol's, through its quantiles."""
    from scipy.special import ndtri
    from scipy.stats import qmc  # takes half a second to import

    points: np.ndarray = qmc.Sobol(size, rng=0).random_base2(LOG_DRAWS)
    return ndtri(np.clip(points, 1e-6, 1 - 1e-6))


def scaled_and_shifted(
    numbers: Float[Array, "2 n"], h: Float[Array, " n"], *, inverse: bool = False
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return h exp(a) + b, or the h of which it was made, and a; numbers = [a, b], |a| < 2."""
    numbers, shift = numbers
    log_factor = STEEPEST * jnp.tanh(numbers / STEEPEST)
    if inverse:
        return (h - shift) * jnp.exp(-log_factor), log_factor
    return h * jnp.exp(log_factor) + shift, log_factor
