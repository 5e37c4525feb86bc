"""Cases in the corners: two narrow modes, saturated logits, and densities with known totals."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avi.conjugate import LOG_TWO_PI
from avi.evidence.ais import AnnealedImportanceSampling
from avi.evidence.exact import Exact
from avi.evidence.quadrature import Quadrature
from avi.families.categorical import Categorical
from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import DiagonalGaussian
from avi.likelihoods.bernoulli import Bernoulli
from avi.likelihoods.continuous_bernoulli import ContinuousBernoulli
from avi.likelihoods.gaussian import Gaussian
from avi.models.mixture import Mixture
from avi.objectives.elbo import Enumerated
from avi.types import DataSpec, Latent, PRNGKey, Scalar, Support, Target, Theta, X, Z
from avi.verify.bench import KEY, Bench, stored

NODES = Quadrature(201)
ANNEALED = AnnealedImportanceSampling(2048, 400, 400, 10, 0.65, 4, "prior")


@dataclass(frozen=True)
class Fold:
    """z_i ~ N(0, spread^2), x_i ~ N(z_i^2, noise^2): a posterior of 2^d equal modes."""

    size: int  # d
    noise: float
    spread: float
    support: Support = "real"

    @property
    def latent(self) -> Latent:
        """R^d."""
        return Latent("real", self.size)

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return no parameters."""
        del key, data
        return {}

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) + log p(z) in nats."""
        del theta
        return _log_normal(x - z**2, self.noise) + _log_normal(z, self.spread)

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0."""
        del theta
        return jnp.zeros(())

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x)."""
        del theta, like
        z_key, x_key = jax.random.split(key)
        z = self.spread * jax.random.normal(z_key, (self.size,))
        return z, z**2 + self.noise * jax.random.normal(x_key, (self.size,))


def _log_normal(value: Array, scale: float) -> Scalar:
    return jnp.sum(-0.5 * ((value / scale) ** 2 + LOG_TWO_PI) - jnp.log(scale))


def folds() -> dict[str, Any]:
    """Evidence where q can hold one mode of several, and the prior's scale is not 1."""
    problem = stored("folds").problem

    def evidence(size: int, noise: Any, spread: Any, rule: Any = NODES) -> float:
        model = Fold(size, float(noise), float(spread))
        rows = np.full((1, size), problem["x"])
        # At one of the modes, which is all that a search from there would know of.
        root = np.full(size, np.sqrt(problem["x"]))
        family = DiagonalGaussian(size)
        lam = family.member(jnp.asarray(root), jnp.full(size, noise / 2))
        return float(Bench(model, {}, rows).evidence(rule, family, lam)[0])

    narrow, wide = problem["narrow"], problem["wide"]
    return {
        "narrow": lambda: evidence(1, narrow, 1),
        "narrow, wide prior": lambda: evidence(1, narrow, problem["spread"]),
        "narrow, two latents": lambda: evidence(2, narrow, 1),
        "annealed from the prior": lambda: evidence(3, wide, 1, ANNEALED),
    }


def saturated() -> dict[str, Any]:
    """A q whose gradient is zero by underflow, far from the posterior that it can hold."""
    problem = stored("saturated").problem
    theta = {
        "logits": problem["logits"],
        "mean": problem["mean"],
        "log_scale": np.log(problem["scale"]),
    }
    model, family = Mixture(2, "own", 1e-2), Categorical(2)
    bench, enumerated = Bench(model, theta, problem["x"][None]), Enumerated()
    wrong = np.array([[3000.0, -3000.0]])

    def bound(lams: np.ndarray) -> float:
        return float(bench.bounds_at(family, lams, enumerated)[0])

    def known() -> np.ndarray:
        target = Target(model, theta, problem["x"])
        logits = [target.model.log_joint(theta, target.x, jnp.int32(k)) for k in range(2)]
        return np.asarray(family.of_logits(jnp.stack(logits)))[None]

    return {
        "evidence": lambda: bench.evidence(Exact(), family)[0],
        "bound of the wrong certainty": lambda: bound(wrong),
        "bound at the known optimum": lambda: bound(known()),
    }


def densities() -> dict[str, Any]:
    """Totals, means and entropies."""
    problem = stored("densities").problem
    nodes, weights = np.polynomial.legendre.leggauss(100)
    unit, logit = (nodes + 1) / 2, jnp.asarray(problem["logit"])[None]
    concentration = np.asarray(problem["concentration"])
    dirichlet, lam = Dirichlet(len(concentration)), np.log(concentration)
    grey = ContinuousBernoulli()

    def density(likelihood: Any, x: np.ndarray) -> np.ndarray:
        one = jax.vmap(lambda x: likelihood.log_prob(likelihood.init(1), logit, x[None]))
        return np.exp(np.asarray(one(jnp.asarray(x))))

    line = np.linspace(-20, 20, 2001)
    return {
        "Bernoulli, total": lambda: density(Bernoulli(), np.array([0.0, 1.0])).sum(),
        "continuous Bernoulli, total": lambda: weights @ density(grey, unit) / 2,
        "continuous Bernoulli, mean": lambda: grey.mean({}, logit)[0],
        "Gaussian, total": lambda: density(Gaussian(0.7, False, 0.01), line).sum() * 0.02,
        "Dirichlet, entropy": lambda: dirichlet.entropy(lam, dirichlet.sample(lam, KEY)),
        "Dirichlet, KL to another": lambda: dirichlet.kl_to(lam, jnp.asarray(problem["other"])),
    }
