"""The natural gradient of lam as an optax transformation built from a family."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from avi.abilities import Natural
from avi.types import Family, Model


class NaturalGradientState(NamedTuple):
    """How many steps there were."""

    taken: Int[Array, ""]


@dataclass(frozen=True)
class NaturalGradient:
    """lam moves by the family's natural step (Amari 1998) at rate * (1 + t / delay)^-decay.

    Rate 1 without decay solves a conjugate bound in one step. A constant rate below 1 leaves a
    noise floor in proportion to it; decay > 1/2 removes it (Robbins & Monro 1951). `otherwise`
    stands in where the family has no natural steps; without one it is refused there.
    """

    rate: float  # of the first step
    delay: float  # steps until the decay sets in
    decay: float  # 0: a constant rate
    otherwise: Any = None  # an optax transformation
    needs: ClassVar[tuple[type, ...]] = (Natural,)

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be in (0, 1]; got {self.rate}. Try rate=0.1.")
        if not self.delay > 0:
            raise ValueError(f"delay must be positive; got {self.delay}. Try delay=20.")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in [0, 1]; got {self.decay}. Try decay=0.7.")

    def choose(self, model: Model, family: Family) -> Any:
        """Return itself, or what stands in for a family without natural steps."""
        del model
        return self if self.otherwise is None or isinstance(family, Natural) else self.otherwise

    def bind(self, family: Family) -> optax.GradientTransformation:
        """Return the transformation of descent gradients, as optax passes them, into updates."""
        assert isinstance(family, Natural)
        natural: Natural = family

        def init(params: optax.Params) -> NaturalGradientState:
            del params
            return NaturalGradientState(jnp.zeros((), jnp.int32))

        def update(
            gradients: optax.Updates,
            state: NaturalGradientState,
            params: optax.Params | None = None,
        ) -> tuple[optax.Updates, NaturalGradientState]:
            rate = self.rate * (1 + state.taken / self.delay) ** -self.decay

            def one(gradient: Array, lam: Array) -> Array:
                return natural.natural_step(lam, jnp.negative(gradient), rate) - lam

            updates = jax.tree.map(one, gradients, params)
            return updates, NaturalGradientState(state.taken + 1)

        return optax.GradientTransformation(init, update)
