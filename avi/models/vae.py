"""Variational autoencoder: z ~ prior, a network decodes z to the parameters of p(x | z)."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import Particular
from avi.models import entries
from avi.priors.standard_normal import StandardNormal
from avi.types import (
    DataSpec,
    Latent,
    Likelihood,
    Network,
    Prior,
    PRNGKey,
    Scalar,
    Support,
    Theta,
    X,
    Z,
)

OF_PRIOR = 1  # folded into the key of the parameters


@dataclass(frozen=True)
class VAE:
    """The deep latent Gaussian model.

    Kingma & Welling (2014); Rezende, Mohamed & Wierstra (2014).

    theta = {"decoder": the network's weights, "likelihood": the likelihood's own parameters}, and
    "prior" where the prior has parameters. x is an array, or {"mask", "value"} where some entries
    are missing, which takes a likelihood with `log_probs`.
    """

    latent_size: int  # D
    decoder: Network
    likelihood: Likelihood
    prior: Prior = field(default=StandardNormal(), kw_only=True)

    def __post_init__(self) -> None:
        if self.latent_size < 1:
            raise ValueError(f"latent_size must be 1 or more; got {self.latent_size}.")

    @property
    def latent(self) -> Latent:
        """R^D."""
        return Latent("real", self.latent_size)

    @property
    def support(self) -> Support:
        """The likelihood's."""
        return self.likelihood.support

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return random weights whose output starts at the data mean.

        Raises:
            ConfigError: if the likelihood gives no probability to a row of `data.sample`.
        """
        if isinstance(self.likelihood, Particular) and data.sample is not None:
            self.likelihood.require(entries.value_of(data.sample))
        mean = jnp.ravel(entries.mean_of(data.mean))
        bias = self.likelihood.output_bias(mean)
        decoder = self.decoder.init(key, jnp.zeros(self._code_size), bias)
        theta = {"decoder": decoder, "likelihood": self.likelihood.init(mean.size)}
        prior = self.prior.init(jax.random.fold_in(key, OF_PRIOR))
        return theta | ({"prior": prior} if prior else {})

    def observed(self, x: X) -> tuple[Array, Array]:
        """Return the entries of x, and for each 1 if it was seen and 0 if it is missing."""
        return entries.observed(x)

    def log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) in nats, of the entries that were seen."""
        likelihood: Any = self.likelihood
        params, outputs = theta["likelihood"], self._outputs(theta, z, x)
        if not isinstance(x, dict):
            value: Scalar = likelihood.log_prob(params, outputs, x)
            return value
        return entries.total(likelihood.log_probs(params, outputs, entries.inside(x)), x)

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) + log p(z) in nats."""
        return self.log_likelihood(theta, x, z) + self.prior.log_prob(_of_prior(theta), z)

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0: theta is a parameter, without a prior."""
        del theta
        return jnp.zeros(())

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the model; `like` gives the shape of x and what is missing of it."""
        latent_key, x_key = jax.random.split(key)
        z = self.prior.sample(_of_prior(theta), latent_key, self.latent_size)
        return z, self.emit(theta, z, x_key, like)

    def emit(self, theta: Theta, z: Z, key: PRNGKey, like: X) -> X:
        """Draw x given z; `like` gives the shape of x and what is missing of it."""
        outputs = self._outputs(theta, z, like)
        return entries.like(self.likelihood.sample(theta["likelihood"], outputs, key), like)

    def decode(self, theta: Theta, z: Z, like: X) -> X:
        """Return E[x | z]; `like` gives the shape of x and what is missing of it."""
        outputs = self._outputs(theta, z, like)
        return entries.like(self.likelihood.mean(theta["likelihood"], outputs), like)

    def remarks(self, theta: Theta) -> list[str]:
        """Return what a report should say of the likelihood's parameters."""
        return self.likelihood.remarks(theta["likelihood"])

    def _code(self, theta: Theta, z: Z) -> Array:
        """Return what the decoder sees of z, here z."""
        del theta
        return z

    @property
    def _code_size(self) -> int:
        return self.latent_size

    def _outputs(self, theta: Theta, z: Z, x: X) -> Array:
        shape = entries.value_of(x).shape
        size = prod(shape)
        number = self.likelihood.num_outputs(size)
        outputs = self.decoder.apply(theta["decoder"], self._code(theta, z), number)
        return outputs.reshape(shape if number == size else (-1, *shape))


def _of_prior(theta: Theta) -> dict[str, Any]:
    """Return the prior's own parameters."""
    own: dict[str, Any] = theta.get("prior", {})
    return own
