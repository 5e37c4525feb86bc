"""The ELBO with a weighted divergence: KL warm-up, free bits and beta."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient
from jaxtyping import Array

from avi.abilities import Reparametrised, StandardNormalKL, StandardNormalPrior
from avi.objectives.draws import draw_noise, reconstruction_and_divergence, refuse_draws
from avi.types import Bound, Family, Inference, Lam, Params, PRNGKey, Scalar, Target, X


@dataclass(frozen=True)
class Beta:
    """Trains E_q[log p(x | z)] - beta max(KL, free); what is reported stays the ELBO.

    beta rises linearly from 0 over the first `warmup` steps (Sønderby et al. 2016; Bowman et al.
    2016) to its end: 1 is the ELBO, others are those of Higgins et al. (2017). Below `free_bits`
    the mean KL of the batch costs nothing (Kingma et al. 2016, eq. 15, with all latents as one
    group). Both hold in training alone; inner steps of a mode climb with the last beta.
    """

    beta: float  # at the end
    warmup: int  # steps from 0 to beta; 0: none
    free_bits: float  # nats of the batch's mean KL that cost nothing
    num_samples: int  # S
    antithetic: bool
    needs: ClassVar[tuple[type, ...]] = (StandardNormalPrior, StandardNormalKL, Reparametrised)
    bound_name: ClassVar = "ELBO"

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples, antithetic=self.antithetic)
        if not self.beta > 0:
            raise ValueError(f"beta must be positive; got {self.beta}.")
        for name in ("warmup", "free_bits"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more; got {getattr(self, name)}.")

    @property
    def trained_name(self) -> str:
        """What the steps climb."""
        said = ["the ELBO" if self.beta == 1 else f"the ELBO with {self.beta:g} KL"]
        if self.warmup:
            said.append(f"KL warmed up over {self.warmup} steps")
        if self.free_bits:
            said.append(f"{self.free_bits:g} nats of KL free")
        return ", ".join(said)

    def require(self, inference: Inference) -> None:
        """Refuse no mode."""

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the ELBO at lam, and the surrogate with the last beta and no free bits."""
        reconstruction, divergence = self._parts(target, family, lam, key)
        return Bound(reconstruction - divergence, reconstruction - self.beta * divergence)

    def of_step(self, problem: Any, params: Params, x: X, keys: PRNGKey, step: Scalar) -> Bound:
        """Return the ELBO of each row of the batch, and the surrogate of this step."""

        def parts(params: Params, x: X, key: PRNGKey) -> tuple[Scalar, Scalar]:
            infer_key, bound_key = jax.random.split(key)
            lam = problem.infer(params, x, infer_key)
            target, family, _ = problem.local(params.theta, x, params.psi)
            return self._parts(target, family, lam, bound_key)

        reconstruction, divergence = problem.over_rows(parts, params, x, keys)
        # In how far the divergence counts: not at all while the batch's mean is free.
        counts = divergence.mean() > self.free_bits
        paid = jnp.where(counts, divergence, stop_gradient(divergence))
        return Bound(reconstruction - divergence, reconstruction - self._beta_at(step) * paid)

    def _beta_at(self, step: Scalar) -> Scalar:
        if not self.warmup:
            return jnp.asarray(self.beta)
        beta: Array = optax.linear_schedule(0.0, self.beta, self.warmup)(step)
        return beta

    def _parts(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> tuple[Scalar, Scalar]:
        """Return the reconstruction term, on draws, and the exact KL."""
        noise = draw_noise(family, key, self.num_samples, antithetic=self.antithetic)
        return reconstruction_and_divergence(target, family, lam, noise)

    def evaluations(self, family: Family) -> int:
        """S."""
        del family
        return self.num_samples
