"""An encoder of documents: an embedding of every term, their scaled sum, then dense layers."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.networks.mlp import MLP, Activation
from avi.ragged import Document
from avi.types import PRNGKey


@dataclass(frozen=True)
class BagOfWords:
    """Rows of a table [V, width], weighted by log(1 + count) and summed to unit scale; then an MLP.

    It also sees the log of the number of tokens, which sets how sure a posterior can be. Cost: the
    slots of the document, not the vocabulary.
    """

    width: int  # of a term's embedding
    widths: tuple[int, ...]
    activation: Activation
    output_scale: float

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be 1 or more; got {self.width}.")

    @property
    def layers(self) -> MLP:
        """What sees the sum."""
        return MLP(self.widths, self.activation, self.output_scale)

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        return self.layers.idle()

    def init(
        self, key: PRNGKey, x: Document, output_bias: Float[Array, " num_outputs"]
    ) -> dict[str, Any]:
        """Return the table and the weights of the layers."""
        table_key, layers_key = jax.random.split(key)
        table = jax.random.normal(table_key, (x.num_terms, self.width))
        summary = jnp.zeros(self.width + 1)
        return {"table": table, "layers": self.layers.init(layers_key, summary, output_bias)}

    def apply(
        self, params: dict[str, Any], x: Document, num_outputs: int
    ) -> Float[Array, " num_outputs"]:
        """Return the outputs for one document."""
        weights = jnp.log1p(x.counts)
        total = weights @ params["table"][x.ids]
        scale = jnp.sqrt(jnp.maximum(jnp.sum(weights**2), 1))
        summary = jnp.append(total / scale, jnp.log1p(x.counts.sum()))
        return self.layers.apply(params["layers"], summary, num_outputs)
