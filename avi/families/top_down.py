"""Gaussians layer by layer: what a layer of latents is depends on those above it."""

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import Layered
from avi.families.flow import Flow, refuse_small, scaled_and_shifted
from avi.networks.mlp import MLP
from avi.types import Family, Model, PRNGKey, Psi, Scalar


@dataclass(frozen=True)
class TopDown(Flow):
    """q(z_1) q(z_2 | z_1) ... q(z_L | z_1 .. z_(L-1)), layer 1 the top one of the model.

    Each layer is Gaussian with mean and scale of the datapoint's own, which move with the layers
    above: linearly, and by a network with one hidden layer that sees the context too (Sønderby et
    al. 2016; Kingma et al. 2016, section 4). psi are the weights of these maps, shared by all
    datapoints. Density and draw cost the same.
    """

    width: int  # of the hidden layer of each layer's network
    sizes: tuple[int, ...] | None  # latents of each layer from the top; None: as the model has them
    needs: ClassVar[tuple[type, ...]] = (Layered,)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_small(self, width=1)
        sizes = self.sizes
        if sizes is not None and (min(sizes, default=0) < 1 or sum(sizes) != self.latent_size):
            raise ValueError(
                f"sizes must be 1 or more each and add up to the {self.latent_size} latents; got "
                f"{list(sizes)}. Try family.sizes=null for those of the model."
            )

    def choose(self, model: Model, family: Family) -> Family:
        """Return the family over the model's layers, localised if weights are a datapoint's own."""
        sizes = self.sizes or (model.layer_sizes if isinstance(model, Layered) else None)
        return super(TopDown, replace(self, sizes=sizes)).choose(model, family)

    def init_psi(self, key: PRNGKey) -> Psi:
        """Return weights at which the layers do not depend on each other."""

        def layer(key: PRNGKey, start: int, end: int) -> dict[str, Any]:
            number = 2 * (end - start)
            seen = jnp.zeros(start + self.context)
            network = self._network.init(key, seen, jnp.zeros(number))
            return {"network": network, "linear": jnp.zeros((number, start))}

        below = self._spans()[1:]
        keys = jax.random.split(key, max(1, len(below)))
        return [layer(one, *span) for one, span in zip(keys, below, strict=False)]

    def forward(self, context: Array, eps: Array) -> tuple[Array, Scalar]:
        """Return T(eps), layer after layer, and the log determinant of its Jacobian."""
        (_, top), *below = self._spans()
        h, stretch = eps[:top], jnp.zeros(())
        for weights, (start, end) in zip(cast(list[Any], self.psi), below, strict=True):
            moved, log_slopes = scaled_and_shifted(
                self._conditioned(weights, context, h, end - start), eps[start:end]
            )
            h, stretch = jnp.concatenate([h, moved]), stretch + jnp.sum(log_slopes)
        return h, stretch

    def inverse(self, context: Array, h: Array) -> tuple[Array, Scalar]:
        """Return the eps of T(eps) = h and the log determinant of the Jacobian of T there."""
        (_, top), *below = self._spans()
        eps, stretch = [h[:top]], jnp.zeros(())
        for weights, (start, end) in zip(cast(list[Any], self.psi), below, strict=True):
            back, log_slopes = scaled_and_shifted(
                self._conditioned(weights, context, h[:start], end - start),
                h[start:end],
                inverse=True,
            )
            eps, stretch = [*eps, back], stretch + jnp.sum(log_slopes)
        return jnp.concatenate(eps), stretch

    def _conditioned(self, weights: Any, context: Array, above: Array, size: int) -> Array:
        """Return log factor and shift of a layer of this size, [2, size]."""
        seen = jnp.concatenate([above, context])
        outputs = self._network.apply(weights["network"], seen, 2 * size)
        return (outputs + weights["linear"] @ above).reshape(2, size)

    def _spans(self) -> list[tuple[int, int]]:
        """Return where each layer starts and ends in z."""
        return list(pairwise(accumulate(self.sizes or (self.latent_size,), initial=0)))

    @property
    def _network(self) -> MLP:
        return MLP((self.width,), "tanh", output_scale=0.0)
