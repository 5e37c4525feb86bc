"""Parameters from tensors: what a name map makes of a file, or all that does not fit, by name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from avi.errors import ConfigError
from avi.weights.name_map import MisfitError, NameMap, Piece
from avi.weights.tensors import Tensors

Shapes = Mapping[str, tuple[int, ...]]


class Filled(NamedTuple):
    """The parameters of a model, and what was done with the file's tensors."""

    arrays: dict[str, np.ndarray]  # by parameter
    prefix: str  # with which all tensors of the map begin in the file, and not in the map
    left_out: tuple[str, ...]  # tensors that the map says are not used


def fill(
    wanted: Mapping[str, Any],
    tensors: Tensors,
    names: NameMap,
    advice: Callable[[Shapes], str],
) -> Filled:
    """Return every parameter of `wanted`, whose leaves have shape and dtype, in that dtype.

    Args:
        wanted: the parameters to fill, by name.
        tensors: of the file.
        names: from which tensors each parameter is made.
        advice: what to type, given the shapes that the map makes of the file.

    Raises:
        ConfigError: tensors or lines are missing or superfluous, or shapes differ: all of them.
    """
    prefix = _prefix(tensors, names)
    made, wrong = {}, []
    for name, line in names.lines.items():
        like = wanted.get(name)
        try:
            made[name] = _made(line, tensors.arrays, prefix, like)
        except MisfitError as error:
            wrong.append(f"{name}: {error}")
    wrong += [f"{name}: no line of the map" for name in wanted if name not in names.lines]
    wrong += [f"{name}: no parameter here" for name in names.lines if name not in wanted]
    wrong += [
        f"{name}: {list(wanted[name].shape)} here, {list(array.shape)} = {names.texts[name]} there"
        for name, array in made.items()
        if name in wanted and array.shape != tuple(wanted[name].shape)
    ]
    used = {prefix + tensor for tensor in names.tensors}
    others = [tensor for tensor in tensors.arrays if tensor not in used]
    left_out = tuple(one for one in others if _is_left_out(one, prefix, names))
    wrong += [
        f"{tensor}: a tensor that no line of the map takes, nor names behind unused:"
        for tensor in others
        if tensor not in left_out
    ]
    if wrong:
        said = advice({name: array.shape for name, array in made.items()})
        raise ConfigError(_lines(f"{tensors.path} does not fit by {names.name}:", wrong, said))
    return Filled({name: made[name] for name in wanted}, prefix, left_out)


def _made(
    line: tuple[Piece, ...] | float, arrays: Mapping[str, np.ndarray], prefix: str, like: Any
) -> np.ndarray:
    dtype = np.dtype(np.float32 if like is None else like.dtype)
    if not isinstance(line, tuple):
        if not abs(line) <= float(np.finfo(dtype).max):
            raise MisfitError(f"{line:g} is not finite in {dtype}")
        return np.full(() if like is None else like.shape, line, dtype)
    parts = [piece.of(arrays[prefix + piece.tensor], dtype) for piece in line]
    if len(parts) == 1:
        return parts[0]
    if len({(part.ndim, part.shape[:-1]) for part in parts}) > 1 or not parts[0].ndim:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise MisfitError(f"{shapes} cannot be joined along their last axis")
    return np.concatenate(parts, axis=-1)


def _prefix(tensors: Tensors, names: NameMap) -> str:
    """Return what stands before all names of the map in the file: nothing, or one beginning."""
    needed, there = sorted(names.tensors), tensors.arrays
    if not needed or all(name in there for name in needed):
        return ""
    starts = [one.removesuffix(needed[0]) for one in there if one.endswith(needed[0])]
    fitting = [
        start
        for start in starts
        if start.endswith((".", "/")) and all(start + name in there for name in needed)
    ]
    if len(fitting) == 1:
        return fitting[0]
    missing = [f"{name}: no such tensor" for name in needed if name not in there]
    if fitting:
        missing = [f"{start}*: one of {len(fitting)} beginnings that fit" for start in fitting]
    said = f"The file holds {', '.join(there)}."
    raise ConfigError(_lines(f"{tensors.path} does not fit by {names.name}:", missing, said))


def _is_left_out(tensor: str, prefix: str, names: NameMap) -> bool:
    return names.leaves_out(tensor) or names.leaves_out(tensor.removeprefix(prefix))


def _lines(headline: str, wrong: Iterable[str], said: str) -> str:
    return "\n".join([headline, *(f"  {one}" for one in wrong), *([said] if said else [])])
