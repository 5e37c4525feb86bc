"""Cases about the estimators themselves, for a normal posterior and a normal q."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avi.evidence.ais import AnnealedImportanceSampling
from avi.evidence.iwae import pareto_khat
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.models.linear_gaussian import LinearGaussian
from avi.objectives.elbo import StickTheLanding
from avi.objectives.iwae import ImportanceWeighted
from avi.types import PRNGKey, Target
from avi.verify.bench import KEY, monte_carlo, stored

FAMILY = DiagonalGaussian(2)
# z ~ N(0, 1) with W = 0 and mu = x = 0: p(z | x) is the prior, q = N(0.5, 0.8^2).
PLAIN = {"weight": np.zeros((1, 1)), "mean": np.zeros(1), "log_scale": np.zeros(1)}
PLAIN_LAM = np.array([0.5, np.log(0.8)])


def estimators() -> dict[str, Any]:
    """O9."""
    problem = stored("estimators").problem
    theta = {
        "weight": problem["weight"],
        "mean": problem["mean"],
        "log_scale": np.log(problem["scale"]),
    }
    target = Target(LinearGaussian(2, "diagonal", 1e-6), theta, jnp.asarray(problem["x"]))
    evidence = float(target.model.log_evidence(theta, target.x))  # type: ignore[attr-defined]
    shifted = _lam(problem["shifted"]["mean"], problem["shifted"]["scale"])
    mean_field = _lam(problem["posterior_mean"], problem["mean_field_scale"])
    plain = Target(LinearGaussian(1, "diagonal", 1e-6), PLAIN, jnp.zeros(1))
    constant = -0.5 * np.log(2 * np.pi)  # log p(x) of `plain`

    def excess(objective: Any, lam: Any, where: Target = target, family: Any = FAMILY) -> Any:
        """Return draws of the bound less log p(x)."""
        level = constant if where is plain else evidence

        def one(key: PRNGKey) -> Array:
            return objective(where, family, lam, key).value - level

        return monte_carlo(one, 100_000)

    def noise() -> float:
        full = FullRankGaussian(2)
        _, precision = target.model.posterior(theta, target.x)  # type: ignore[attr-defined]
        root = jnp.linalg.cholesky(jnp.linalg.inv(precision))
        lam = full.join(jnp.asarray(problem["posterior_mean"]), root)

        def gradient(key: PRNGKey) -> Array:
            return jax.grad(lambda lam: StickTheLanding(1)(target, full, lam, key).surrogate)(lam)

        return float(np.abs(monte_carlo(gradient, 100)).max())

    def shape() -> float:
        # p / q of N(0, 1) and N(0, 0.6): the tail index of the weights is 1 - 0.6.
        z = np.sqrt(0.6) * jax.random.normal(KEY, (20_000,))
        return float(jax.jit(pareto_khat)(0.5 * z**2 * (1 / 0.6 - 1)))

    def annealed() -> float:
        ais = AnnealedImportanceSampling(
            num_chains=8,
            num_temperatures=10,
            max_temperatures=10,
            leapfrog=3,
            acceptance=0.65,
            pilot_chains=8,
            start="posterior_approximation",
        )

        def one(key: PRNGKey) -> Array:
            return ais(target, FAMILY, jnp.asarray(shifted), key).value - evidence

        return float(np.exp(monte_carlo(one, 2000)).mean())

    one_dimensional = DiagonalGaussian(1)
    return {
        "iwae is unbiased for p(x)": lambda: np.exp(excess(ImportanceWeighted(5), shifted)).mean(),
        "iwae weights, second moment": lambda: np.exp(
            2 * excess(ImportanceWeighted(1), mean_field)
        ).mean(),
        "iwae of two draws": lambda: excess(
            ImportanceWeighted(2), PLAIN_LAM, plain, one_dimensional
        ).mean(),
        "elbo of one draw": lambda: excess(
            ImportanceWeighted(1), PLAIN_LAM, plain, one_dimensional
        ).mean(),
        "pareto shape of the weights": shape,
        "ais is unbiased for p(x)": annealed,
        "stick-the-landing noise at p(z|x)": noise,
        "kl to the prior": lambda: FAMILY.kl_to_standard_normal(jnp.asarray(shifted)),
    }


def _lam(mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.concatenate([mean, np.log(scale)])
