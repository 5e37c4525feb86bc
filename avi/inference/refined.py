"""Modes that end with a local optimisation: SVI and semi-amortized inference."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from avi.abilities import given, psi_of
from avi.inference.start import Start
from avi.types import Family, Inference, Lam, Local, Phi, PRNGKey, Psi, Refine, Theta, X

GROWTH = 3.0  # of a gradient on its way back through the steps


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
            start = self.base.infer(phi, x, base_key, local)
            return _steady(self.refine, local, start, refine_key)
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


def _steady(refine: Refine, local: Local, start: Lam, key: PRNGKey) -> Lam:
    """Return lam after the steps; its derivative is that of `start` where their own runs away.

    Steps towards an optimum contract: a gradient that grows on its way back through them comes from
    steps that overshoot, in directions in which this row has not moved yet, and one such row would
    undo the training. Kim et al. (2018) clip these gradients.
    """

    def refined(lam: Lam, theta: Theta, psi: Psi, x: X, key: PRNGKey) -> Lam:
        target = local.target._replace(theta=theta, x=x)
        return refine(local._replace(target=target, family=given(local.family, psi)), lam, key)

    steady = jax.custom_vjp(refined)

    def forward(*arguments: Any) -> tuple[Lam, Any]:
        return jax.vjp(refined, *arguments)

    def backward(pull: Any, cotangent: Lam) -> tuple[Any, ...]:
        of_lam, *others = pull(cotangent)
        # False where one of the two is not a number.
        contracts = jnp.linalg.norm(of_lam) <= GROWTH * jnp.linalg.norm(cotangent)

        def kept(leaf: Any) -> Any:
            return leaf if leaf.dtype == jax.dtypes.float0 else jnp.where(contracts, leaf, 0)

        return jnp.where(contracts, of_lam, cotangent), *jax.tree.map(kept, others)

    steady.defvjp(forward, backward)
    target = local.target
    lam: Lam = steady(start, target.theta, psi_of(local.family), target.x, key)
    return lam
