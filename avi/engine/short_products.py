"""Matrix products of a few rows, cut so that every core has a part of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxpr_as_fun
from jax.extend.core.primitives import dot_general_p
from jaxtyping import Array

from avi.engine.devices import cores

# XLA's products on a CPU act as if a core took 48 rows at a time: of 50 the second one gets two.
# Cut in three they are faster. Nothing is gained from 65 rows on, nor where the cut is a larger
# part of the work.
ROWS = range(49, 65)
FEWEST_WEIGHTS = 100_000
PARTS = 3


def share_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with such products cut, in its loops and branches too.

    The same numbers up to their last bits. On one core, or on an accelerator, the function itself.
    """
    if jax.default_backend() != "cpu" or len(cores()) == 1:
        return function

    def shared(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        leaves = jaxpr_as_fun(_share(closed))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    return shared


def _share(value: Any) -> Any:
    """Return a parameter of an equation with the products of its programs cut."""
    if type(value) is tuple:  # the branches of a switch
        return tuple(map(_share, value))
    if not isinstance(value, ClosedJaxpr):
        return value
    equations = [_shared(equation) for equation in value.jaxpr.eqns]
    return ClosedJaxpr(value.jaxpr.replace(eqns=equations), value.consts)


def _shared(equation: JaxprEqn) -> JaxprEqn:
    if equation.primitive is not dot_general_p:
        params = {name: _share(value) for name, value in equation.params.items()}
        return equation.replace(params=params)
    left, right = map(_shape, equation.invars)
    (contracted, _), (batched, _) = equation.params["dimension_numbers"]
    if batched or left.ndim != 2 or len(contracted) != 1 or right.size < FEWEST_WEIGHTS:
        return equation
    axis = 1 - contracted[0]
    if left.shape[axis] not in ROWS:
        return equation

    def cut(left: Array, right: Array) -> Array:
        parts = jnp.array_split(left, PARTS, axis)
        return jnp.concatenate([dot_general_p.bind(p, right, **equation.params) for p in parts])

    call = jax.make_jaxpr(jax.jit(cut))(left, right).eqns[0]
    return equation.replace(primitive=call.primitive, params=call.params)


def _shape(variable: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(variable.aval.shape, variable.aval.dtype)
