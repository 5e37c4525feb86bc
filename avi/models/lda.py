"""Latent Dirichlet allocation with a Dirichlet posterior on its topics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.abilities import LogProportions
from avi.conjugate import dirichlet, expected_statistics, kl_divergence
from avi.ragged import Document
from avi.types import DataSpec, Family, Lam, Latent, PRNGKey, Scalar, Support, Theta, Z

TINY = 1e-30  # keeps a quotient finite where a term has no weight left in float32


@dataclass(frozen=True)
class LDA:
    """Document: proportions z ~ Dirichlet(alpha), each token a topic from z and a term from it.

    theta = {"topics": [V, K]}, column k the concentration of q(beta_k) = Dirichlet, with prior
    Dirichlet(eta). The bound of a document is that of Blei, Ng & Jordan (2003), eq. 15, under
    q(z) q(tokens' topics), the latter at its optimum: lam is float[K] for any length.

    `topics` says which topics the local bound is under: "posterior" averages log beta over q(beta),
    as training must; "mean" takes beta = E[beta] as known, as held-out bounds do. Two numbers that
    are not to be compared. Under "posterior" the weights exp(E[log beta]) sum to less than one.
    """

    latent_size: int  # K, topics
    alpha: float  # prior concentration of a document's proportions
    eta: float  # prior concentration of a topic's terms
    seeds: int  # training documents that a topic starts from; 0: random topics
    topics: Literal["posterior", "mean"]

    def __post_init__(self) -> None:
        if self.latent_size < 2:
            raise ValueError(f"latent_size must be 2 or more; got {self.latent_size}.")
        for name in ("alpha", "eta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")
        if self.seeds < 0:
            raise ValueError(f"seeds must be 0 or more; got {self.seeds}.")

    @property
    def latent(self) -> Latent:
        """The simplex of K parts."""
        return Latent("simplex", self.latent_size)

    @property
    def support(self) -> Support:
        """Bags of words."""
        return "terms"

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return topics that differ: around the terms of some training documents each.

        Equal topics stay equal: no step tells them apart.
        """
        num_terms = data.example.num_terms
        seed_key, noise_key = jax.random.split(key)
        shape = (num_terms, self.latent_size)
        noise = jax.random.gamma(noise_key, 100.0, shape) / 100
        if not self.seeds:
            return {"topics": noise}
        counts = self._seeded(seed_key, data.sample, num_terms)
        return {"topics": self.eta + noise / num_terms + counts}

    def _seeded(self, key: PRNGKey, sample: Document, num_terms: int) -> Float[Array, "V K"]:
        number = len(sample.ids)
        wanted = self.seeds * self.latent_size
        chosen = jax.random.permutation(key, number)[jnp.arange(wanted) % number]
        topic = jnp.arange(wanted)[:, None] % self.latent_size
        empty = jnp.zeros((num_terms, self.latent_size))
        return empty.at[sample.ids[chosen], topic].add(sample.counts[chosen])

    def log_topics(self, theta: Theta) -> Float[Array, "V K"]:
        """Return E[log beta], or log E[beta] under topics="mean"."""
        if self.topics == "mean":
            return jnp.log(self.mean_globals(theta)["topics"])
        return expected_statistics(dirichlet, theta["topics"])

    def mean_globals(self, theta: Theta) -> dict[str, Array]:
        """Return E[beta]."""
        return {"topics": theta["topics"] / theta["topics"].sum(0)}

    @property
    def bound_name(self) -> str:
        """That of `elbo`: the topic of every token has a factor of its own, unlike in `log_joint`.

        Under q(topics) the bound is lower than at their means by what is not known of them.
        """
        return "ELBO at mean topics" if self.topics == "mean" else "ELBO under q(topics)"

    def supports(self, family: Family) -> bool:
        """Whether `elbo` and `coordinate_update` are those of the family."""
        return isinstance(family, LogProportions)

    def elbo(self, theta: Theta, x: Document, family: Any, lam: Lam) -> Scalar:
        """Return the bound of one document in nats.

        sum_w c_w log sum_k exp(E[log z_k] + log beta_wk) - KL(q || Dirichlet(alpha)).
        """
        log_weights = self.log_topics(theta)[x.ids] + family.expected_log(lam)
        likelihood = jnp.dot(x.counts, jax.nn.logsumexp(log_weights, axis=1))
        return likelihood - family.kl_to(lam, jnp.full(self.latent_size, self.alpha))

    def coordinate_update(self, theta: Theta, x: Document, family: Any) -> Callable[[Lam], Lam]:
        """Return the update gamma_k = alpha + sum_w c_w phi_wk, phi at its optimum for lam."""
        log_topics = self.log_topics(theta)
        # The largest weight of a term is 1: float32 does not hold exp(E[log beta]) of a rare one.
        scaled = jnp.exp(log_topics - log_topics.max(1, keepdims=True))
        topics = scaled[x.ids].T  # [K, W]: the products run along the terms

        def update(lam: Lam) -> Lam:
            weights = family.relative_weights(lam)
            share = x.counts / (weights @ topics + TINY)
            return jnp.log(self.alpha + weights * (topics @ share))

        return update

    def log_prior(self, theta: Theta) -> Scalar:
        """Return -KL(q(beta) || p(beta)), all topics."""
        prior = jnp.full_like(theta["topics"], self.eta)
        return -kl_divergence(dirichlet, theta["topics"], prior)

    def log_joint(self, theta: Theta, x: Document, z: Z) -> Scalar:
        """Return log p(x, z) in nats, the tokens' topics summed out."""
        concentration = jnp.full(self.latent_size, self.alpha)
        log_prior = jnp.sum((concentration - 1) * jnp.log(z)) - dirichlet(concentration)
        log_weights = self.log_topics(theta)[x.ids] + jnp.log(z)
        return log_prior + jnp.dot(x.counts, jax.nn.logsumexp(log_weights, axis=1))

    def sample(self, theta: Theta, key: PRNGKey, like: Document) -> tuple[Z, Document]:
        """Draw (z, x) under the mean topics: as many tokens as `like` has, at most one per slot."""
        latent_key, topic_key, term_key = jax.random.split(key, 3)
        z = jax.random.dirichlet(latent_key, jnp.full(self.latent_size, self.alpha))
        slots = like.ids.shape
        topic = jax.random.categorical(topic_key, jnp.log(z), shape=slots)
        log_topics = jnp.log(self.mean_globals(theta)["topics"])
        ids = jax.random.categorical(term_key, log_topics[:, topic], axis=0).astype(like.ids.dtype)
        inside = jnp.arange(slots[0]) < like.counts.sum()
        counts = inside.astype(like.counts.dtype)
        return z, Document(jnp.where(inside, ids, 0), counts, like.num_terms)
