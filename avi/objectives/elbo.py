"""The evidence lower bound E_q[log p(x, z) - log q(z)], one class per estimator."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import (
    ClosedForm,
    Enumerable,
    KnownDensity,
    Noisy,
    Reparametrised,
    StandardNormalKL,
    StandardNormalPrior,
    first_that_fits,
)
from avi.objectives.draws import (
    draw_noise,
    draws_per_noise,
    elbo_of,
    mean_over,
    reconstruction_and_divergence,
    refuse_draws,
)
from avi.types import Bound, Family, Lam, Model, Objective, PRNGKey, Target


@dataclass(frozen=True)
class AnalyticKL:
    """Mean of log p(x | z) over S reparametrised draws, minus the exact KL(q || N(0, I)).

    Kingma & Welling (2014), eq. 10.
    """

    num_samples: int  # S
    antithetic: bool
    needs: ClassVar[tuple[type, ...]] = (StandardNormalPrior, StandardNormalKL, Reparametrised)
    bound_name: ClassVar = "ELBO"

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples, antithetic=self.antithetic)

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        noise = draw_noise(family, key, self.num_samples, antithetic=self.antithetic)
        reconstruction, divergence = reconstruction_and_divergence(target, family, lam, noise)
        value = reconstruction - divergence
        return Bound(value, value)

    def evaluations(self, family: Family) -> int:
        """S."""
        del family
        return self.num_samples


@dataclass(frozen=True)
class Pathwise:
    """Mean of log p(x, z) over S reparametrised draws plus the entropy of q, exact where known.

    A mixture is drawn from each of its components, S times.
    """

    num_samples: int  # S
    antithetic: bool
    needs: ClassVar[tuple[type, ...]] = (Noisy,)
    bound_name: ClassVar = "ELBO"

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples, antithetic=self.antithetic)

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        noise = draw_noise(family, key, self.num_samples, antithetic=self.antithetic)
        value = mean_over(lambda eps: elbo_of(target, family, lam, eps), noise)
        return Bound(value, value)

    def evaluations(self, family: Family) -> int:
        """S, times the components of a mixture."""
        return self.num_samples * draws_per_noise(family)


@dataclass(frozen=True)
class StickTheLanding:
    """Pathwise with the score of q left out of the gradient (Roeder, Wu & Duvenaud 2017).

    Its gradient has variance zero where q is the posterior. Costs one evaluation of log q per draw.
    """

    num_samples: int  # S
    needs: ClassVar[tuple[type, ...]] = (Reparametrised, KnownDensity)
    bound_name: ClassVar = "ELBO"

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples)

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""
        noise = draw_noise(family, key, self.num_samples, antithetic=False)

        def one(eps: Array) -> Array:
            z = family.transport(lam, eps)
            log_q = family.log_prob(jax.lax.stop_gradient(lam), z)
            return target.model.log_joint(target.theta, target.x, z) - log_q

        value = mean_over(one, noise)
        return Bound(value, value)

    def evaluations(self, family: Family) -> int:
        """S."""
        del family
        return self.num_samples


@dataclass(frozen=True)
class Score:
    """The score-function gradient, for families that cannot be reparametrised; needs S >= 2.

    Baseline: the mean over the other draws (Kool, van Hoof & Welling 2019), unbiased and free.
    """

    num_samples: int  # S
    needs: ClassVar[tuple[type, ...]] = (KnownDensity,)
    bound_name: ClassVar = "ELBO"

    def __post_init__(self) -> None:
        if self.num_samples < 2:
            raise ValueError(
                "the score estimator needs num_samples >= 2 (its baseline leaves one out); "
                f"got {self.num_samples}. Try objective.num_samples=10."
            )

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam."""

        def one(draw_key: PRNGKey) -> tuple[Array, Array]:
            z = jax.lax.stop_gradient(family.sample(lam, draw_key))
            log_q = family.log_prob(lam, z)
            return target.model.log_joint(target.theta, target.x, z) - log_q, log_q

        log_ratio, log_q = jax.vmap(one)(jax.random.split(key, self.num_samples))
        fixed = jax.lax.stop_gradient(log_ratio)
        baseline = (fixed.sum() - fixed) / (self.num_samples - 1)
        # E[grad log q] = 0, so the gradient of -log q in log_ratio costs no bias.
        return Bound(log_ratio.mean(), (log_ratio + (fixed - baseline) * log_q).mean())

    def evaluations(self, family: Family) -> int:
        """S."""
        del family
        return self.num_samples


@dataclass(frozen=True)
class Enumerated:
    """The exact ELBO of a finite latent: the sum over every z."""

    needs: ClassVar[tuple[type, ...]] = (Enumerable, KnownDensity)
    bound_name: ClassVar = "ELBO"

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam; the key is not used."""
        del key

        def term(z: Array) -> Array:
            log_q = family.log_prob(lam, z)
            return jnp.exp(log_q) * (target.model.log_joint(target.theta, target.x, z) - log_q)

        value = jax.vmap(term)(family.points()).sum()
        return Bound(value, value)

    def evaluations(self, family: Family) -> int:
        """The number of categories."""
        return family.latent.size


@dataclass(frozen=True)
class ClosedFormElbo:
    """The model's own closed-form ELBO."""

    needs: ClassVar[tuple[type, ...]] = (ClosedForm,)
    bound_name: ClassVar = "ELBO"

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at lam; the key is not used."""
        del key
        value = target.model.elbo(target.theta, target.x, family, lam)  # type: ignore[attr-defined]
        return Bound(value, value)

    def evaluations(self, family: Family) -> int:
        """One."""
        del family
        return 1


@dataclass(frozen=True)
class Elbo:
    """The ELBO by the estimator with the least variance that the model and the family allow.

    ClosedFormElbo, else Enumerated, AnalyticKL, Pathwise, Score: one of them fits every pair.
    """

    num_samples: int  # S, where the estimator draws
    antithetic: bool  # draws in mirrored pairs, where the estimator is reparametrised

    def __post_init__(self) -> None:
        refuse_draws(self.num_samples, antithetic=self.antithetic)

    def choose(self, model: Model, family: Family) -> Objective:
        """Return the estimator."""
        drawn = self.num_samples, self.antithetic
        score = Score(max(2, self.num_samples))
        candidates = (ClosedFormElbo(), Enumerated(), AnalyticKL(*drawn), Pathwise(*drawn), score)
        chosen: Objective = first_that_fits(candidates, model, family)
        return chosen
