"""An encoder whose weights are those of a network that sees x."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from avi.types import Family, Lam, Local, Network, Phi, PRNGKey, X


@dataclass(frozen=True)
class Hypernetwork:
    """lam = start + W diag(1 + m(x)) tanh(body(x)) + c: a second network gives m, one per unit.

    The output weights W diag(1 + m(x)) are another matrix for every x, as in conditional
    normalisation (Ha, Dai & Le 2017, section 3.2; Perez et al. 2018, eq. 1). A plain
    encoder shares one W, which is where a part of the amortization gap comes from. At the start
    m = 0. phi = {"body", "modulator", "outer", "bias"}.
    """

    body: Network  # x -> hidden units
    modulator: Network  # x -> m
    width: int  # hidden units
    output_scale: float  # factor on the initial W; small: begin near the family's standard member
    needs: ClassVar[tuple[type, ...]] = ()
    per_datapoint: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be 1 or more; got {self.width}.")

    def init(self, key: PRNGKey, family: Family, x: X, num_data: int) -> Phi:
        """Return the weights at the start."""
        del num_data
        body_key, modulator_key, outer_key = jax.random.split(key, 3)
        zeros, number = jnp.zeros(self.width), family.num_params
        outer = jax.random.normal(outer_key, (number, self.width)) * self.width**-0.5
        return {
            "body": self.body.init(body_key, x, zeros),
            "modulator": self.modulator.init(modulator_key, x, zeros),
            "outer": self.output_scale * outer,
            "bias": jnp.zeros(number),
        }

    def infer(self, phi: Phi, x: X, key: PRNGKey, local: Local) -> Lam:
        """Return lam from one forward pass of both networks."""
        del key
        hidden = jnp.tanh(self.body.apply(phi["body"], x, self.width))
        scales = 1 + self.modulator.apply(phi["modulator"], x, self.width)
        lam: Lam = local.family.init() + phi["outer"] @ (scales * hidden) + phi["bias"]
        return lam

    def unseen(self) -> "Hypernetwork":
        """Return itself."""
        return self

    def inner_calls(self) -> int:
        """Return 0."""
        return 0
