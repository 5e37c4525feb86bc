"""Data whose truth is known: x = W z + mu + noise, drawn from a recorded seed."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.datasets.base import cut
from avi.types import Dataset, Splits, Support


class Truth(NamedTuple):
    """p(x) = N(mean, loadings loadings' + diag(variances))."""

    loadings: Float[np.ndarray, "D d"]  # W
    mean: Float[np.ndarray, " D"]  # mu
    variances: Float[np.ndarray, " D"]  # the diagonal of Psi


@dataclass(frozen=True)
class LinearGaussian:
    """Rows of `size` numbers around a plane of dimension `latent_size`."""

    num_train: int
    num_valid: int
    num_test: int
    size: int  # D
    latent_size: int  # d
    noise: float  # standard deviation around the plane, where W has entries of variance 1
    seed: int

    support: ClassVar[Support] = "real"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        for name in ("num_train", "num_valid", "num_test", "size", "latent_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}.")
        if not self.noise > 0:
            raise ValueError(f"noise must be positive; got {self.noise}.")

    @property
    def truth(self) -> Truth:
        """What the rows were drawn from."""
        return self._draw()[0]

    def load(self) -> Splits:
        """Return the splits, float32 so that both precisions see the same numbers."""
        rows = self._draw()[1].astype(np.float32)
        train, valid, test = cut(rows, (self.num_train, self.num_valid, self.num_test))
        return Splits(train, valid, test)

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return the row."""
        del index, visit
        return jnp.asarray(row, float)

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self

    def _draw(self) -> tuple[Truth, np.ndarray]:
        # This generator's stream is frozen across versions of numpy.
        draws = np.random.RandomState(self.seed)
        loadings = draws.standard_normal((self.size, self.latent_size))
        mean = draws.standard_normal(self.size)
        num_rows = self.num_train + self.num_valid + self.num_test
        z = draws.standard_normal((num_rows, self.latent_size))
        rows = z @ loadings.T + mean + self.noise * draws.standard_normal((num_rows, self.size))
        return Truth(loadings, mean, np.full(self.size, self.noise**2)), rows
