"""Variational autoencoder: z ~ prior, a network decodes z to the parameters of p(x | z)."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import Particular
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
    "prior" where the prior has parameters.
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
            self.likelihood.require(data.sample)
        mean = jnp.ravel(data.mean)
        bias = self.likelihood.output_bias(mean)
        decoder = self.decoder.init(key, jnp.zeros(self._code_size), bias)
        theta = {"decoder": decoder, "likelihood": self.likelihood.init(mean.size)}
        prior = self.prior.init(jax.random.fold_in(key, OF_PRIOR))
        return theta | ({"prior": prior} if prior else {})

    def log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) in nats."""
        return self.likelihood.log_prob(theta["likelihood"], self._outputs(theta, z, x), x)

    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar:
        """Return log p(x | z) + log p(z) in nats."""
        return self.log_likelihood(theta, x, z) + self.prior.log_prob(_of_prior(theta), z)

    def log_prior(self, theta: Theta) -> Scalar:
        """Return 0: theta is a parameter, without a prior."""
        del theta
        return jnp.zeros(())

    def sample(self, theta: Theta, key: PRNGKey, like: X) -> tuple[Z, X]:
        """Draw (z, x) from the model; `like` gives the shape of x."""
        latent_key, x_key = jax.random.split(key)
        z = self.prior.sample(_of_prior(theta), latent_key, self.latent_size)
        outputs = self._outputs(theta, z, like)
        return z, self.likelihood.sample(theta["likelihood"], outputs, x_key)

    def decode(self, theta: Theta, z: Z, like: X) -> X:
        """Return E[x | z]; `like` gives the shape of x."""
        return self.likelihood.mean(theta["likelihood"], self._outputs(theta, z, like))

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

    def _outputs(self, theta: Theta, z: Z, x: Array) -> Array:
        size = prod(x.shape)
        number = self.likelihood.num_outputs(size)
        outputs = self.decoder.apply(theta["decoder"], self._code(theta, z), number)
        return outputs.reshape(x.shape if number == size else (-1, *x.shape))


def _of_prior(theta: Theta) -> dict[str, Any]:
    """Return the prior's own parameters."""
    own: dict[str, Any] = theta.get("prior", {})
    return own
