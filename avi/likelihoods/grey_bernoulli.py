"""The cross-entropy that the literature scores grey pixels with."""

from dataclasses import dataclass

from jaxtyping import Array

from avi.likelihoods.bernoulli import Bernoulli
from avi.types import Support


@dataclass(frozen=True)
class GreyBernoulli(Bernoulli):
    """sum_i x_i log p_i + (1 - x_i) log(1 - p_i) for x_i in [0, 1]: no density of grey values.

    For comparison with published numbers alone: `continuous_bernoulli` is the density
    (Loaiza-Ganem & Cunningham 2019).
    """

    @property
    def support(self) -> Support:
        """[0, 1]."""
        return "unit"

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return what these numbers are not."""
        del params
        return [
            "Grey values are scored by a cross-entropy, which is no density of them: neither the "
            "bound nor the evidence is a log-likelihood, and neither can stand beside one. For a "
            "density say likelihood=continuous_bernoulli."
        ]
