"""The encoder that fits the data: of documents, or of the numbers in x."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Array, Float

from avi.networks.bag import BagOfWords
from avi.networks.mlp import MLP
from avi.ragged import Document
from avi.types import Network, PRNGKey, X


@dataclass(frozen=True)
class Auto:
    """`BagOfWords` where x is a document, else `MLP`."""

    width: int  # of a term's embedding
    widths: tuple[int, ...]
    activation: Literal["tanh", "relu", "softplus", "gelu"]
    output_scale: float

    def __post_init__(self) -> None:
        # Both refuse what they cannot do, whichever it will be.
        MLP(self.widths, self.activation, self.output_scale)
        BagOfWords(self.width, self.widths, self.activation, self.output_scale)

    def chosen(self, x: X) -> Network:
        """Return the one that fits x."""
        if isinstance(x, Document):
            return BagOfWords(self.width, self.widths, self.activation, self.output_scale)
        return MLP(self.widths, self.activation, self.output_scale)

    def init(self, key: PRNGKey, x: X, output_bias: Float[Array, " num_outputs"]) -> dict[str, Any]:
        """Return the weights for inputs like `x`."""
        return self.chosen(x).init(key, x, output_bias)

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " num_outputs"]:
        """Return the outputs for one x."""
        return self.chosen(x).apply(params, x, num_outputs)
