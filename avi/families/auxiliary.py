"""A q with auxiliary variables: richer than its density could be written down."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import SharedWeights, draw_and_log_prob, given
from avi.conjugate import LOG_TWO_PI
from avi.families.coordinates import refuse_empty
from avi.networks.mlp import MLP
from avi.types import Family, Lam, Latent, PRNGKey, Psi, Scalar, Z


@dataclass(frozen=True)
class Auxiliary:
    """q(z | x) = integral of q(z, v | x) dv, q(z, v | x) a `flow` over both.

    What stands for log q(z) is log q(z, v) - log r(v | z, x), r a Gaussian by a network: its mean
    is above -entropy of q(z) by the divergence from q(v | z, x) to r, so that every bound holds
    (Maaløe et al. 2016, eq. 4; Cremer, Li & Duvenaud 2018, section 3.3). lam = [lam of the flow,
    context of r]; psi = {"reverse": weights of r, "flow": those of the flow}.
    """

    latent_size: int  # d
    auxiliary_size: int  # of v
    width: int  # of the hidden layer of r
    context: int  # numbers per datapoint that r sees beside z
    flow: Family  # over [z, v]
    psi: Psi | None = field(default=None, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        refuse_empty(self.latent_size)
        for name, least in (("auxiliary_size", 1), ("width", 1), ("context", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more; got {getattr(self, name)}.")
        wanted = self.latent_size + self.auxiliary_size
        if self.flow.latent != Latent("real", wanted):
            raise ValueError(
                f"the flow is over z and v, R^{wanted}; got {self.flow.latent}. "
                "Leave flow.latent_size out."
            )

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.latent_size)

    @property
    def num_params(self) -> int:
        """P of the flow and the context."""
        return self.flow.num_params + self.context

    def init_psi(self, key: PRNGKey) -> Psi:
        """Return weights at which r is N(0, I), and those of the flow."""
        seen = jnp.zeros(self.latent_size + self.context)
        reverse = self._network.init(key, seen, jnp.zeros(2 * self.auxiliary_size))
        if isinstance(self.flow, SharedWeights):
            return {"reverse": reverse, "flow": self.flow.init_psi(jax.random.fold_in(key, 1))}
        return {"reverse": reverse}

    def given(self, psi: Psi) -> Self:
        """Return the family at these weights."""
        return replace(self, psi=psi)

    def init(self) -> Lam:
        """Return lam of the flow's start and context 0."""
        return self._with_context(self.flow.init())

    def noise(self, key: PRNGKey) -> Array:
        """Draw the flow's noise."""
        noise: Array = self._flow.noise(key)
        return noise

    def transport(self, lam: Lam, eps: Array) -> Z:
        """Return z of this noise."""
        return self.transport_and_log_prob(lam, eps)[0]

    def transport_and_log_prob(self, lam: Lam, eps: Array) -> tuple[Z, Scalar]:
        """Return z of this noise and log q(z, v) - log r(v | z, x)."""
        own, context = jnp.split(lam, [self.flow.num_params])
        both, log_q = draw_and_log_prob(self._flow, own, eps)
        z, v = jnp.split(both, [self.latent_size])
        return z, log_q - self.log_reverse(context, z, v)

    def log_reverse(self, context: Array, z: Z, v: Array) -> Scalar:
        """Return log r(v | z, x) in nats."""
        psi: Any = self.psi
        seen = jnp.concatenate([z, context])
        outputs = self._network.apply(psi["reverse"], seen, 2 * self.auxiliary_size)
        mean, log_scale = jnp.split(outputs, 2)
        square = ((v - mean) * jnp.exp(-log_scale)) ** 2
        return -jnp.sum(0.5 * (square + LOG_TWO_PI) + log_scale)

    def sample(self, lam: Lam, key: PRNGKey) -> Z:
        """Draw z ~ q."""
        return self.transport(lam, self.noise(key))

    def mean(self, lam: Lam) -> Array:
        """Return E[z]."""
        return self._flow.mean(lam[: self.flow.num_params])[: self.latent_size]

    def standard_deviation(self, lam: Lam) -> Array:
        """Return the marginal standard deviations of z."""
        return self._flow.standard_deviation(lam[: self.flow.num_params])[: self.latent_size]

    def member(self, mean: Array, deviation: Array) -> Lam:
        """Return lam of the flow's member with this place and width in z, and standard v."""
        more = jnp.ones(self.auxiliary_size)
        place, width = jnp.concatenate([mean, 0 * more]), jnp.concatenate([deviation, more])
        return self._with_context(self._flow.member(place, width))

    def displace(self, lam: Lam, step: Lam) -> Lam:
        """Return lam displaced as the flow displaces its own; the context moves by its step."""
        size = self.flow.num_params
        moved = self._flow.displace(lam[:size], step[:size])
        return jnp.concatenate([moved, lam[size:] + step[size:]])

    @property
    def _flow(self) -> Any:
        psi: Any = self.psi
        return given(self.flow, psi.get("flow", ()) if psi else ())

    @property
    def _network(self) -> MLP:
        return MLP((self.width,), "tanh", output_scale=0.0)

    def _with_context(self, lam: Lam) -> Lam:
        return jnp.concatenate([lam, jnp.zeros(self.context)])
