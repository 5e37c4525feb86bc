"""The natural gradient of lam as an optax transformation built from a family."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from avi.types import Family, Natural


@dataclass(frozen=True)
class NaturalGradient:
    """lam moves by the family's natural step (Amari 1998); rate 1 solves a conjugate bound."""

    rate: float
    needs: ClassVar = (Natural,)

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be in (0, 1]; got {self.rate}. Try rate=0.1.")

    def bind(self, family: Family) -> optax.GradientTransformation:
        """Return the transformation of descent gradients, as optax passes them, into updates."""
        assert isinstance(family, Natural)
        natural: Natural = family

        def init(params: optax.Params) -> optax.EmptyState:
            del params
            return optax.EmptyState()

        def update(
            gradients: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None
        ) -> tuple[optax.Updates, optax.EmptyState]:
            def one(gradient: jax.Array, lam: jax.Array) -> jax.Array:
                return natural.natural_step(lam, jnp.negative(gradient), self.rate) - lam

            return jax.tree.map(one, gradients, params), state

        return optax.GradientTransformation(init, update)  # type: ignore[arg-type]
