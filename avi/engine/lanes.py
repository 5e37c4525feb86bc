"""Functions of one datapoint over many, in lanes of one fixed width."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from avi.engine.devices import for_products
from avi.engine.placement import chosen

WIDTH = 100  # lanes side by side: part of a result's last bits, so the same for every caller


def in_lanes(function: Callable[..., Any], width: int = WIDTH) -> Callable[..., Any]:
    """Return `function` mapped over the leading axis of all arguments but the first.

    The first argument is shared. Rows go through the device `width` at a time, the last lanes
    padded: a row's result does not depend on how many rows there are, on their order or on which
    they are. Several devices take the same lanes in turns, which changes no bit either. Results
    are float64 on the host.
    """
    placement = chosen()
    compiled = jax.jit(
        lambda shared, rows: jax.vmap(lambda row: function(shared, *row))(rows),
        compiler_options=for_products(),
    )

    def mapped(shared: Any, *arrays: PyTree) -> Any:
        number = len(jax.tree.leaves(arrays)[0])

        @lru_cache
        def shared_on(device: Any) -> Any:
            return shared if device is None else jax.device_put(shared, device)

        def block(place: int, device: Any) -> Any:
            start = place * width
            index = np.minimum(np.arange(start, start + width), number - 1)
            rows = jax.tree.map(lambda leaf: leaf[index], arrays)
            if device is not None:
                rows = jax.device_put(rows, device)
            kept = min(width, number - start)
            found = compiled(shared_on(device), rows)
            return jax.tree.map(lambda leaf: _host(leaf)[:kept], found)

        blocks = placement.each(block, -(-number // width))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)

    return mapped


def _host(leaf: Array) -> np.ndarray:
    values = np.asarray(leaf)
    return values.astype(np.float64) if np.issubdtype(values.dtype, np.floating) else values
