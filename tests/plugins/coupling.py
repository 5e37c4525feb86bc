"""A normalizing flow as somebody outside the repository would add it: no closed forms at all."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from avi.types import Latent

LAYERS = 2


@dataclass(frozen=True)
class CouplingFlow:
    """Affine couplings with linear conditioners, then z = shift + exp(log_scale) h.

    lam = [shift, log_scale, weights]; without weights it is N(shift, exp(log_scale)^2).
    Dinh, Sohl-Dickstein & Bengio (2017).
    """

    latent_size: int  # d

    @property
    def latent(self):
        return Latent("real", self.latent_size)

    @property
    def num_params(self):
        return 2 * self.latent_size + 2 * LAYERS * self.latent_size**2

    def init(self):
        return jnp.zeros(self.num_params)

    def split(self, lam):
        """Return shift, log_scale, and of each layer its mask and its two matrices."""
        size = self.latent_size
        shift, log_scale, weights = jnp.split(lam, [size, 2 * size])
        matrices = weights.reshape(LAYERS, 2, size, size)
        masks = [(jnp.arange(size) + layer) % 2 for layer in range(LAYERS)]
        return shift, log_scale, list(zip(masks, matrices, strict=True))

    def noise(self, key):
        return jax.random.normal(key, (self.latent_size,))

    def transport(self, lam, eps):
        shift, log_scale, layers = self.split(lam)
        h = eps
        for mask, (scale, move) in layers:
            kept = mask * h
            h = kept + (1 - mask) * (h * jnp.exp(jnp.tanh(scale @ kept)) + move @ kept)
        return shift + jnp.exp(log_scale) * h

    def sample(self, lam, key):
        return self.transport(lam, self.noise(key))

    def log_prob(self, lam, z):
        shift, log_scale, layers = self.split(lam)
        h, log_stretch = (z - shift) * jnp.exp(-log_scale), log_scale.sum()
        for mask, (scale, move) in reversed(layers):
            kept = mask * h
            log_factor = (1 - mask) * jnp.tanh(scale @ kept)
            h = kept + (1 - mask) * (h - move @ kept) * jnp.exp(-log_factor)
            log_stretch = log_stretch + log_factor.sum()
        return jax.scipy.stats.norm.logpdf(h).sum() - log_stretch

    def entropy(self, lam, z):
        return -self.log_prob(lam, z)

    def mean(self, lam):
        return self._draws(lam).mean(axis=0)

    def standard_deviation(self, lam):
        return self._draws(lam).std(axis=0)

    def _draws(self, lam):
        """Return z at fixed mirrored noise: the moments have no closed form."""
        noise = jax.random.normal(jax.random.key(0), (64, self.latent_size))
        return jax.vmap(lambda eps: self.transport(lam, eps))(jnp.concatenate([noise, -noise]))
