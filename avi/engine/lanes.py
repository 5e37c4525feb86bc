"""Functions of one datapoint over many, in lanes of one fixed width."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from avi.engine.devices import for_products

WIDTH = 100  # lanes side by side: part of a result's last bits, so the same for every caller


def in_lanes(function: Callable[..., Any], width: int = WIDTH) -> Callable[..., Any]:
    """Return `function` mapped over the leading axis of all arguments but the first.

    The first argument is shared. Rows go through the device `width` at a time, the last lanes
    padded: a row's result does not depend on how many rows there are, on their order or on which
    they are. Results are float64 on the host.
    """
    compiled = jax.jit(
        lambda shared, rows: jax.vmap(lambda row: function(shared, *row))(rows),
        compiler_options=for_products(),
    )

    def mapped(shared: Any, *arrays: PyTree) -> Any:
        number = len(jax.tree.leaves(arrays)[0])
        blocks = []
        for start in range(0, number, width):
            index = np.minimum(np.arange(start, start + width), number - 1)
            block = compiled(shared, jax.tree.map(lambda leaf, index=index: leaf[index], arrays))
            kept = min(width, number - start)
            blocks.append(jax.tree.map(lambda leaf, kept=kept: _host(leaf)[:kept], block))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)

    return mapped


def _host(leaf: Array) -> np.ndarray:
    values = np.asarray(leaf)
    return values.astype(np.float64) if np.issubdtype(values.dtype, np.floating) else values
