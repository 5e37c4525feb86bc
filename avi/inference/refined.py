"""Modes that end with a local optimisation: SVI and semi-amortized inference."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from avi.inference.start import Start
from avi.types import Family, Inference, Lam, Local, Phi, PRNGKey, Refine, X


@dataclass(frozen=True)
class Refined:
    """lam = refine(base(x)): K ascent steps on this datapoint's bound from where `base` puts it.

    Over `Start` and without backprop this is stochastic variational inference (Hoffman et al.
    2013): at the local optimum the bound does not move with lam (the envelope theorem), so the
    gradient in theta needs none through the steps. Over an encoder, with backprop, it is
    semi-amortized inference (Kim et al. 2018): the encoder learns to be a good start.
    """

    base: Inference
    refine: Refine
    backprop: bool  # differentiate through the K steps
    needs: ClassVar[tuple[type, ...]] = ()
    per_datapoint: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.base.per_datapoint:
            raise ValueError("a table has its own rows to refine. Try inference=free_form.")
        starts_cold = isinstance(self.base, Start)
        if starts_cold and self.refine.steps < 2:
            raise ValueError(
                f"svi with {self.refine.steps} inner step is a step from the prior, not a local "
                "optimum. Try inference.refine.steps=20."
            )
        if not starts_cold and not self.backprop:
            raise ValueError(
                "without backprop the encoder gets no gradient. Try inference.backprop=true."
            )

    def init(self, key: PRNGKey, family: Family, x: X, num_data: int) -> Phi:
        """Return the phi of the base."""
        return self.base.init(key, family, x, num_data)

    def infer(self, phi: Phi, x: X, key: PRNGKey, local: Local) -> Lam:
        """Return the refined lam."""
        base_key, refine_key = jax.random.split(key)
        if self.backprop:
            return self.refine(local, self.base.infer(phi, x, base_key, local), refine_key)
        theta = jax.lax.stop_gradient(local.target.theta)
        local = local._replace(target=local.target._replace(theta=theta))
        lam = self.refine(local, self.base.infer(phi, x, base_key, local), refine_key)
        return jax.lax.stop_gradient(lam)

    def unseen(self) -> "Refined":
        """Return itself."""
        return self

    def inner_calls(self) -> int:
        """K, twice with backprop: each step's gradient is itself differentiated once."""
        return self.refine.steps * (2 if self.backprop else 1)
