"""Deep latent Gaussian models: layers of latents, each a nonlinear function of those above."""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.models.vae import VAE
from avi.types import DataSpec, Network, PRNGKey, Theta, Z


@dataclass(frozen=True)
class DLGM(VAE):
    """h_1 = G_1 z_1, h_l = T_l(h_(l-1)) + G_l z_l, x ~ likelihood(decoder(h_L)), all z ~ N(0, I).

    Rezende, Mohamed & Wierstra (2014), eqs. 1 to 4: z are their xi, the noise of each layer, so
    that the prior is standard and every bound is that of the hidden h as well. Layer 1 is the top.
    T_l are networks that begin at half the strength of G_l, which begins as the identity.

    theta = {"decoder", "likelihood", "scales": G_l [size, size], "maps": weights of T_2 .. T_L}.
    """

    layer_sizes: tuple[int, ...]  # latents of each layer, from the top
    transition: Network

    def __post_init__(self) -> None:
        if not self.layer_sizes or min(self.layer_sizes) < 1:
            raise ValueError(
                f"layer_sizes must be 1 or more each; got {list(self.layer_sizes)}. "
                "Try model.layer_sizes=[8,16]."
            )
        if sum(self.layer_sizes) != self.latent_size:
            raise ValueError(
                f"latent_size is the sum of layer_sizes, {sum(self.layer_sizes)}; got "
                f"{self.latent_size}. Try model.layer_sizes=[{self.latent_size}] in its place."
            )
        super().__post_init__()

    def init(self, key: PRNGKey, data: DataSpec) -> Theta:
        """Return random weights whose output starts at the data mean."""
        keys = jax.random.split(key, len(self.layer_sizes))
        maps = [
            self.transition.init(one, jnp.zeros(above), jnp.zeros(size))
            for one, (above, size) in zip(keys[1:], pairwise(self.layer_sizes), strict=True)
        ]
        scales = [jnp.eye(size) for size in self.layer_sizes]
        return super().init(keys[0], data) | {"scales": scales, "maps": maps}

    def _code(self, theta: Theta, z: Z) -> Array:
        """Return h_L, what the decoder sees."""
        *ends, _ = accumulate(self.layer_sizes)
        noise = jnp.split(z, ends)
        h: Any = theta["scales"][0] @ noise[0]
        for scale, weights, own in zip(theta["scales"][1:], theta["maps"], noise[1:], strict=True):
            h = self.transition.apply(weights, h, own.size) + scale @ own
        return h

    @property
    def _code_size(self) -> int:
        return self.layer_sizes[-1]
