"""Iterative amortized inference: a network that reads the gradient of the bound moves lam."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.types import Family, Inference, Lam, Local, Network, Phi, PRNGKey, X


@dataclass(frozen=True)
class Iterative:
    """lam <- lam + update(phi, lam, gradient of the bound in lam), K times from where `base` is.

    Marino, Yue & Mandt (2018), eq. 4: the network learns how to climb. It is the same at every
    step, sees each gradient g as asinh(g), and is trained through the steps but not through the
    gradients that it reads. phi = {"base", "update"}.
    """

    base: Inference
    update: Network
    steps: int  # K
    needs: ClassVar[tuple[type, ...]] = ()
    per_datapoint: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.base.per_datapoint:
            raise ValueError("a table has no network to begin from. Try inference=free_form.")
        if self.steps < 1:
            raise ValueError(
                f"steps must be 1 or more; got {self.steps}. Try inference=amortized for none."
            )

    def init(self, key: PRNGKey, family: Family, x: X, num_data: int) -> Phi:
        """Return the base's phi and the update network's initial weights."""
        base_key, update_key = jax.random.split(key)
        lam = jnp.zeros(family.num_params)
        return {
            "base": self.base.init(base_key, family, x, num_data),
            "update": self.update.init(update_key, _seen(lam, lam), lam),
        }

    def infer(self, phi: Phi, x: X, key: PRNGKey, local: Local) -> Lam:
        """Return lam after K updates, a fresh draw at each."""
        base_key, steps_key = jax.random.split(key)

        def surrogate(lam: Lam, key: PRNGKey) -> Array:
            return local.bound(lam, key).surrogate

        def step(lam: Lam, number: Array) -> tuple[Lam, None]:
            gradient = jax.grad(surrogate)(lam, jax.random.fold_in(steps_key, number))
            seen = _seen(lam, jax.lax.stop_gradient(gradient))
            return lam + self.update.apply(phi["update"], seen, lam.size), None

        lam = self.base.infer(phi["base"], x, base_key, local)
        return jax.lax.scan(step, lam, jnp.arange(self.steps))[0]

    def unseen(self) -> "Iterative":
        """Return itself."""
        return self

    def inner_calls(self) -> int:
        """K."""
        return self.steps


def _seen(lam: Lam, gradient: Lam) -> Any:
    """Return what the update network sees; gradients differ by orders of magnitude."""
    return {"lam": lam, "gradient": jnp.arcsinh(gradient)}
