"""Rows drawn from models whose evidence is known, by numpy from a recorded seed."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.datasets.base import cut
from avi.types import Dataset, Splits, Support, X


def _refuse(sizes: dict[str, int], positive: dict[str, float]) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be 1 or more; got {value}.")
    for name, number in positive.items():
        if not number > 0:
            raise ValueError(f"{name} must be positive; got {number}.")


@dataclass(frozen=True)
class StateSpace:
    """Sequences x_t = z_t + noise of a stationary first-order process z of variance 1."""

    num_train: int
    num_valid: int
    num_test: int
    length: int  # T
    persistence: float  # correlation of z_t and z_(t+1)
    noise: float  # standard deviation around z
    seed: int

    support: ClassVar[Support] = "real"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        sizes = (self.num_train, self.num_valid, self.num_test)
        _refuse({"num_train, num_valid and num_test": min(sizes)}, {"noise": self.noise})
        if self.length < 2:
            raise ValueError(f"length must be 2 or more; got {self.length}.")
        if not 0 <= self.persistence < 1:
            raise ValueError(f"persistence must be in [0, 1); got {self.persistence}.")

    def load(self) -> Splits:
        """Return the splits, float32 [N, T]."""
        # This generator's stream is frozen across versions of numpy.
        draws = np.random.RandomState(self.seed)
        sizes = (self.num_train, self.num_valid, self.num_test)
        noise = draws.standard_normal((self.length, sum(sizes)))
        states = [noise[0]]
        for eps in noise[1:]:
            states.append(self.persistence * states[-1] + np.sqrt(1 - self.persistence**2) * eps)
        z = np.stack(states, axis=1)
        rows = z + self.noise * draws.standard_normal(z.shape)
        return Splits(*cut(rows.astype(np.float32), sizes))

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " T"]:
        """Return the row."""
        del index, visit
        return jnp.asarray(row, float)

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


@dataclass(frozen=True)
class NormalHierarchy:
    """One measurement of each of J groups, with its own known scale; x = {"scale", "value"}."""

    num_train: int
    num_valid: int
    num_test: int
    groups: int  # J
    prior_scale: float  # standard deviation of the common mean
    between: float  # standard deviation of the groups around it
    seed: int

    support: ClassVar[Support] = "real"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        sizes = (self.num_train, self.num_valid, self.num_test, self.groups)
        positive = {"prior_scale": self.prior_scale, "between": self.between}
        _refuse({"num_train, num_valid, num_test and groups": min(sizes)}, positive)

    def load(self) -> Splits:
        """Return the splits, pairs (scale, value) in float32 [N, J, 2]."""
        draws = np.random.RandomState(self.seed)
        sizes = (self.num_train, self.num_valid, self.num_test)
        shape = (sum(sizes), self.groups)
        scale = np.exp(draws.uniform(np.log(0.3), np.log(3.0), shape))
        centre = self.prior_scale * draws.standard_normal((shape[0], 1))
        effects = centre + self.between * draws.standard_normal(shape)
        value = effects + scale * draws.standard_normal(shape)
        rows = np.stack([scale, value], axis=2).astype(np.float32)
        return Splits(*cut(rows, sizes))

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> X:
        """Return {"scale", "value"}."""
        del index, visit
        pairs = jnp.asarray(row, float)
        return {"scale": pairs[:, 0], "value": pairs[:, 1]}

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


@dataclass(frozen=True)
class MissingEntries:
    """Rows around a plane, entries missing at random; x = {"mask", "value"}, 0 where missing."""

    num_train: int
    num_valid: int
    num_test: int
    size: int  # D
    latent_size: int  # dimension of the plane, d
    noise: float  # standard deviation around the plane, where W has entries of variance 1
    missing: float  # share of the entries
    seed: int

    support: ClassVar[Support] = "real"
    masks: ClassVar[bool] = True
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        sizes = (self.num_train, self.num_valid, self.num_test, self.size, self.latent_size)
        _refuse({"every number of rows and every size": min(sizes)}, {"noise": self.noise})
        if not 0 <= self.missing < 1:
            raise ValueError(f"missing is a share of the entries, in [0, 1); got {self.missing}.")

    def load(self) -> Splits:
        """Return the splits, pairs (mask, value) in float32 [N, D, 2]."""
        draws = np.random.RandomState(self.seed)
        sizes = (self.num_train, self.num_valid, self.num_test)
        loadings = draws.standard_normal((self.size, self.latent_size))
        mean = draws.standard_normal(self.size)
        z = draws.standard_normal((sum(sizes), self.latent_size))
        value = z @ loadings.T + mean + self.noise * draws.standard_normal((len(z), self.size))
        mask = draws.random_sample(value.shape) >= self.missing
        rows = np.stack([mask, np.where(mask, value, 0.0)], axis=2).astype(np.float32)
        return Splits(*cut(rows, sizes))

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> X:
        """Return {"mask", "value"}."""
        del index, visit
        pairs = jnp.asarray(row, float)
        return {"mask": pairs[:, 0], "value": pairs[:, 1]}

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


@dataclass(frozen=True)
class Counts:
    """Poisson counts with log-normal rates, whose logarithms lie on a plane."""

    num_train: int
    num_valid: int
    num_test: int
    size: int  # D
    latent_size: int  # dimension of the plane of log rates
    log_rate: float  # mean of the log rates; each has variance 1 around it
    seed: int

    support: ClassVar[Support] = "count"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        sizes = (self.num_train, self.num_valid, self.num_test, self.size, self.latent_size)
        _refuse({"every number of rows and every size": min(sizes)}, {})

    def load(self) -> Splits:
        """Return the splits, uint16 [N, D]."""
        draws = np.random.RandomState(self.seed)
        sizes = (self.num_train, self.num_valid, self.num_test)
        loadings = draws.standard_normal((self.size, self.latent_size))
        loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
        z = draws.standard_normal((sum(sizes), self.latent_size))
        counts = draws.poisson(np.exp(z @ loadings.T + self.log_rate))
        return Splits(*cut(np.minimum(counts, 65535).astype(np.uint16), sizes))

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> Float[Array, " D"]:
        """Return the row as numbers."""
        del index, visit
        return jnp.asarray(row, float)

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self
