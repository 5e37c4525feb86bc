"""Wake-sleep and reweighted wake-sleep: theta and the encoder learn from losses of their own."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array

from avi.abilities import KnownDensity
from avi.errors import ConfigError
from avi.objectives.draws import refuse_draws
from avi.randomness import for_simulators
from avi.types import Bound, Family, Inference, Lam, Params, PRNGKey, Scalar, Target, X


@dataclass(frozen=True)
class WakeSleep:
    """theta climbs IWAE-k; the encoder raises log q at z of large weight, and at simulated z.

    Bornschein & Bengio (2015), eqs. 8 and 10, algorithm 1. The gradient of the wake phases is that
    of the bound at draws held fixed, without a derivative of z, which may be discrete. k = 1,
    wake = 0 and sleep = 1 is the wake-sleep algorithm of Hinton, Dayan, Frey & Neal (1995).
    """

    num_samples: int  # k
    wake: float  # weight of the wake phase in the encoder's update
    sleep: float  # weight of the sleep phase
    needs: ClassVar[tuple[type, ...]] = (KnownDensity,)

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples)
        if min(self.wake, self.sleep) < 0 or not self.wake + self.sleep > 0:
            raise ValueError(
                f"wake and sleep are weights, 0 or more, not both 0; got {self.wake} and "
                f"{self.sleep}. Try objective.sleep=1."
            )
        if self.num_samples == 1 and self.wake:
            raise ValueError(
                "with one draw the wake phase of the encoder raises log q wherever it draws. Try "
                "objective.num_samples=10, or objective.wake=0 objective.sleep=1."
            )

    @property
    def bound_name(self) -> str:
        """IWAE-k, the ELBO for one draw."""
        return "ELBO" if self.num_samples == 1 else f"IWAE-{self.num_samples}"

    @property
    def trained_name(self) -> str:
        """What theta and the encoder climb."""
        phases = [f"{weight:g} {name}" for name, weight in self._phases() if weight]
        return f"{self.bound_name} in theta, log q ({' + '.join(phases)}) in the encoder"

    def _phases(self) -> list[tuple[str, float]]:
        return [("wake", self.wake), ("sleep", self.sleep)]

    def require(self, inference: Inference) -> None:
        """Refuse a mode that cannot infer z of a simulated x: a table has no row for it."""
        if self.sleep and inference.per_datapoint:
            raise ConfigError(
                "the sleep phase teaches an encoder on simulated x, for which a table has no row. "
                "Try inference=amortized, or objective=vimco."
            )

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam, and the surrogate of the wake phases."""

        def one(draw_key: PRNGKey) -> tuple[Array, Array]:
            z = stop_gradient(family.sample(lam, draw_key))
            log_joint = target.model.log_joint(target.theta, target.x, z)
            return log_joint, family.log_prob(lam, z)

        log_joint, log_q = jax.vmap(one)(jax.random.split(key, self.num_samples))
        log_weights = log_joint - log_q
        value = jax.nn.logsumexp(log_weights) - jnp.log(float(self.num_samples))
        share = stop_gradient(jax.nn.softmax(log_weights))
        return Bound(value, share @ (log_joint + self.wake * log_q))

    def of_step(self, problem: Any, params: Params, x: X, keys: PRNGKey, step: Scalar) -> Bound:
        """Return the bounds of the batch; to each surrogate a dreamed row adds its sleep phase."""
        del step
        bounds = problem.over_rows(problem.bound, params, x, keys)
        if not self.sleep:
            return bounds

        def dreamed(params: Params, x: X, key: PRNGKey) -> Scalar:
            draw_key, infer_key = jax.random.split(for_simulators(jax.random.fold_in(key, 1)))
            theta = stop_gradient(params.theta)
            z, simulated = problem.model.sample(theta, draw_key, x)
            held = params._replace(theta=theta)
            lam = problem.infer(held, simulated, infer_key)
            return problem.local(theta, simulated, params.psi).family.log_prob(lam, z)

        asleep = problem.over_rows(dreamed, params, x, keys)
        return bounds._replace(surrogate=bounds.surrogate + self.sleep * asleep)

    def evaluations(self, family: Family) -> int:
        """Return k."""
        del family
        return self.num_samples
