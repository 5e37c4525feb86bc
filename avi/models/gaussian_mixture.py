"""Bayesian Gaussian mixture: a distribution over weights, means and precisions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.abilities import Unrestricted
from avi.conjugate import (
    LOG_TWO_PI,
    NormalGamma,
    dirichlet,
    expected_statistics,
    kl_divergence,
    normal_gamma,
)
from avi.types import DataSpec, Family, Lam, Latent, PRNGKey, Scalar, Support, Theta, X, Z


@dataclass(frozen=True)
class GaussianMixture:
    """pi ~ Dirichlet(concentration), z ~ Categorical(pi), x | z = k ~ N(mu_k, diag(1 / tau_k)).

    (mu, tau) of every component and dimension has a Normal-Gamma prior: tau ~ Gamma(shape, rate),
    mu | tau ~ N(0, 1 / (kappa tau)). theta = {"weights": [K], "components": natural parameters,
    [K, size] each}. Bishop (2006), section 10.2, with diagonal precisions. Bounds are under
    q(theta), and log_joint is E_q[log p(x, z | globals)].
    """

    latent_size: int  # K, components
    concentration: float  # prior counts of each component
    kappa: float  # prior observations of a mean, at 0
    shape: float  # prior of the precisions: their mean is shape / rate
    rate: float

    def __post_init__(self) -> None:
        if self.latent_size < 2:
            raise ValueError(f"latent_size must be 2 or more; got {self.latent_size}.")
        for name in ("concentration", "kappa", "shape", "rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")

    @property
    def latent(self) -> Latent:
        """One of K categories."""
        return Latent("category", self.latent_size)

    @property
    def support(self) -> Support:
        """The real line."""
        return "real"

    def prior(self, like: Theta) -> Theta:
        """Return the natural parameters of p(globals), shaped like theta."""
        ones = jnp.ones_like(like["components"]["precision"])
        components = NormalGamma.from_moments(
            0 * ones, self.kappa * ones, self.shape * ones, self.rate * ones
        )
        weights = jnp.full_like(like["weights"], self.concentration)
        return {"weights": weights, "components": components._asdict()}

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return components around one x each, far from the others: equal ones stay equal."""
        rows = data.sample.reshape(len(data.sample), -1)
        means = rows[_far_apart(key, rows, self.latent_size)]
        share = jnp.full(means.shape, data.num_data / self.latent_size, float)
        spread = jnp.broadcast_to(rows.var(0), means.shape)
        start = NormalGamma.from_moments(
            means, self.kappa + share, self.shape + share / 2, self.rate + share * spread / 2
        )
        weights = self.concentration + share[:, 0]
        return {"weights": weights, "components": start._asdict()}

    def expected_log_joints(self, theta: Theta, x: X) -> Float[Array, " K"]:
        """Return E_q[log p(x, z = k | globals)] for every k."""
        log_weights = expected_statistics(dirichlet, theta["weights"])
        eta = NormalGamma(**theta["components"])
        log_tau, tau, tau_mu, tau_mu2 = expected_statistics(normal_gamma, eta)
        row = jnp.ravel(x)
        log_density = 0.5 * (log_tau - tau * row**2 + 2 * tau_mu * row - tau_mu2 - LOG_TWO_PI)
        return log_weights + log_density.sum(1)

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return E_q[log p(x, z | globals)] in nats."""
        return self.expected_log_joints(theta, x)[z]

    def log_prior(self, theta: Theta) -> Scalar:
        """Return -KL(q(globals) || p(globals))."""
        prior = self.prior(theta)
        components = (NormalGamma(**tree["components"]) for tree in (theta, prior))
        weights = kl_divergence(dirichlet, theta["weights"], prior["weights"])
        return -weights - kl_divergence(normal_gamma, *components)

    @property
    def bound_name(self) -> str:
        """What `elbo` is: what q(globals) does not know is missing from it."""
        return "ELBO under q(globals)"

    def best_local_bound(self, theta: Theta, x: X) -> Scalar:
        """Return the bound at the optimum of lam: log p(x) less what q(globals) does not know."""
        return jax.nn.logsumexp(self.expected_log_joints(theta, x))

    def supports(self, family: Family) -> bool:
        """Whether `elbo` and `coordinate_update` are those of the family."""
        return isinstance(family, Unrestricted)

    def elbo(self, theta: Theta, x: X, family: Any, lam: Lam) -> Scalar:
        """Return sum_k q_k (E[log p(x, k)] - log q_k)."""
        expected = jnp.dot(family.mean(lam), self.expected_log_joints(theta, x))
        return expected + family.entropy(lam, None)

    def coordinate_update(self, theta: Theta, x: X, family: Any) -> Callable[[Lam], Lam]:
        """Return the update that is the optimum at once, whatever lam."""
        optimum = family.of_logits(jax.nn.log_softmax(self.expected_log_joints(theta, x)))
        return lambda lam: optimum.astype(lam.dtype)

    def mean_globals(self, theta: Theta) -> dict[str, Array]:
        """Return E[pi], E[mu] and E[tau]."""
        mean, _, shape, rate = NormalGamma(**theta["components"]).moments()
        weights = theta["weights"] / theta["weights"].sum()
        return {"weights": weights, "mean": mean, "precision": shape / rate}

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) under the mean globals; `like` gives the shape of x."""
        latent_key, x_key = jax.random.split(key)
        globals_ = self.mean_globals(theta)
        z = jax.random.categorical(latent_key, jnp.log(globals_["weights"]))
        noise = jax.random.normal(x_key, globals_["mean"][0].shape)
        x = globals_["mean"][z] + noise / jnp.sqrt(globals_["precision"][z])
        return z, x.reshape(like.shape)


def _far_apart(key: PRNGKey, rows: Float[Array, "n size"], number: int) -> Array:
    """Return the indices of rows drawn one by one, as k-means++ does (Arthur & Vassilvitskii 2007).

    Each with probability in proportion to its squared distance from those drawn before.
    """
    first_key, key = jax.random.split(key)
    chosen = jnp.zeros(number, int).at[0].set(jax.random.randint(first_key, (), 0, len(rows)))
    distance = jnp.sum((rows - rows[chosen[0]]) ** 2, axis=1)

    def draw(count: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, distance = carry
        new = jax.random.categorical(jax.random.fold_in(key, count), jnp.log(distance + 1e-30))
        nearer = jnp.minimum(distance, jnp.sum((rows - rows[new]) ** 2, axis=1))
        return chosen.at[count].set(new), nearer

    return jax.lax.fori_loop(1, number, draw, (chosen, distance))[0]
