"""The encoder that fits the data: of documents, or of the numbers in x."""

from dataclasses import dataclass

from avi.networks.bag import BagOfWords
from avi.networks.mlp import MLP, Activation
from avi.types import Family, Model, Network


@dataclass(frozen=True)
class Auto:
    """Stands for `BagOfWords` where x is a document, a bag of terms, else for `MLP`."""

    width: int  # of a term's embedding
    widths: tuple[int, ...]
    activation: Activation
    output_scale: float

    def __post_init__(self) -> None:
        # Both refuse what they cannot do, whichever it will be.
        self._of_documents()
        self._of_numbers()

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        return self._of_numbers().idle()

    def choose(self, model: Model, family: Family) -> Network:
        """Return the one that fits the data of the model."""
        del family
        return self._of_documents() if model.support == "terms" else self._of_numbers()

    def _of_documents(self) -> BagOfWords:
        return BagOfWords(self.width, self.widths, self.activation, self.output_scale)

    def _of_numbers(self) -> MLP:
        return MLP(self.widths, self.activation, self.output_scale)
