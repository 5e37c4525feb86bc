"""Pytrees as named arrays and back: the names are what a checkpoint stores."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from avi.errors import CheckpointError

SHOWN = 5  # differences listed in a message


def flatten_tree(tree: Any) -> dict[str, np.ndarray]:
    """Return every leaf under the name of its path, e.g. `.params.theta['bias']`, on the host."""
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def unflatten_like(tree: Any, arrays: Mapping[str, np.ndarray], prefix: str = "") -> Any:
    """Return `arrays` in the structure of `tree`, whose leaves give the expected shapes and dtypes.

    With a `prefix` such as `.params.theta`, `tree` is that part of the whole and other names are
    left alone.

    Raises:
        CheckpointError: a name is missing, superfluous, or of another shape or dtype.
    """
    import jax

    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    expected = {prefix + jax.tree_util.keystr(path): _signature(leaf) for path, leaf in leaves}
    found = {name: _signature(array) for name, array in arrays.items() if name.startswith(prefix)}
    if found != expected:
        raise CheckpointError(_difference(expected, found))
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in expected])


def _signature(leaf: Any) -> tuple[tuple[int, ...], str]:
    return tuple(leaf.shape), str(leaf.dtype)


def _difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    names = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    lines = [
        f"  {name}: the checkpoint has {_words(found.get(name))}, this run needs "
        f"{_words(expected.get(name))}"
        for name in names[:SHOWN]
    ]
    if len(names) > SHOWN:
        lines.append(f"  ... and {len(names) - SHOWN} more")
    return "\n".join(["The checkpoint is of another model, mode or optimiser:", *lines])


def _words(signature: tuple[tuple[int, ...], str] | None) -> str:
    return "nothing" if signature is None else f"{signature[1]}{list(signature[0])}"
