"""Categorical likelihood for codes 0..K-1 in every entry."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avi.errors import ConfigError
from avi.types import PRNGKey, Scalar, Support


@dataclass(frozen=True)
class Categorical:
    """Independent x_i in {0, ..., K - 1} with K logits each; the order of the codes means nothing.

    A code of K or more has no probability: training rows with one are refused, and the bound of
    another such row is not a number, which avi says.
    """

    categories: int  # K

    def __post_init__(self) -> None:
        if self.categories < 2:
            raise ValueError(f"categories must be 2 or more; got {self.categories}.")

    @property
    def support(self) -> Support:
        """Whole numbers from 0."""
        return "count"

    def require(self, rows: Array) -> None:
        """Refuse rows with a code of K or more.

        Raises:
            ConfigError: names the largest code and the K that holds it.
        """
        largest = int(np.asarray(rows).max())
        if largest >= self.categories:
            raise ConfigError(
                f"there are codes up to {largest}, but likelihood.categories={self.categories} has "
                f"0 to {self.categories - 1}. Try likelihood.categories={largest + 1}."
            )

    def num_outputs(self, size: int) -> int:
        """K logits per component of x."""
        return self.categories * size

    def init(self, size: int) -> dict[str, Array]:
        """Return no parameters."""
        del size
        return {}

    def output_bias(self, mean: Array) -> Array:
        """Return zeros: the mean of codes says nothing of their shares."""
        return jnp.zeros(self.categories * mean.size)

    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar:
        """Return the sum of `log_probs`, in nats."""
        return self.log_probs(params, outputs, x).sum()

    def log_probs(self, params: dict[str, Array], outputs: Array, x: Array) -> Array:
        """Return log softmax(logits_i)[x_i] of each entry, NaN for a code that there is not."""
        del params
        codes = jnp.asarray(x, int)
        logs = jax.nn.log_softmax(outputs, axis=0)
        chosen = jnp.take_along_axis(logs, jnp.clip(codes, 0, self.categories - 1)[None], axis=0)
        known = (codes == x) & (codes >= 0) & (codes < self.categories)
        return jnp.where(known, chosen[0], jnp.nan)

    def mean(self, params: dict[str, Array], outputs: Array) -> Array:
        """Return the mean code, for figures."""
        del params
        shares = jax.nn.softmax(outputs, axis=0)
        return jnp.tensordot(jnp.arange(self.categories, dtype=shares.dtype), shares, 1)

    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array:
        """Draw x."""
        del params
        return jax.random.categorical(key, outputs, axis=0).astype(outputs.dtype)

    def remarks(self, params: dict[str, Array]) -> list[str]:
        """Return nothing."""
        del params
        return []
