"""Name maps: for every parameter of avi, from which tensors of a file it is made.

    encoder.layer0.kernel: fc1.weight^T                                # transposed
    encoder.layer1.bias: [fc21.bias, 0.5 * fc22.bias]                  # side by side, one halved
    decoder.layer0.kernel: '"a name [in] quotes"[:, 0:20]'             # a slice
    likelihood.log_scale: 0                                            # a number, everywhere
    unused: [fc5.*]                                                    # tensors to leave out

Slices and ^T apply from left to right. A list is joined along the last axis, that of the outputs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from avi.errors import ConfigError
from avi.rundir.bounded import read_tree

UNUSED = "unused"
FORM = (
    "expected a tensor such as fc1.weight^T, 0.5 * fc22.bias or head.weight[0:20]^T, a list of "
    "these, or a number"
)
PIECE = re.compile(
    r"((?P<factor>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?) *\* *)?"
    r'("(?P<quoted>[^"]+)"|(?P<name>[^\s"\[\]^*]+))'
    r"(?P<steps>(\^T|\[[^\[\]]*\])*)"
)
STEP = re.compile(r"\^T|\[[^\]]*\]")
RANGE = re.compile(r"(?P<first>\d*):(?P<last>\d*)|(?P<one>\d+)")


class MisfitError(ValueError):
    """A tensor cannot be cut or joined as a line says; the sentence goes on from the line."""


@dataclass(frozen=True)
class Piece:
    """One tensor, cut, turned and scaled."""

    tensor: str
    factor: float
    steps: tuple[str, ...]  # "^T" or "[...]", in their order

    def of(self, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return what the piece makes of its tensor; MisfitError where it is of another form."""
        if array.dtype.kind != "f":
            raise MisfitError(f"{self.tensor} holds {array.dtype}, which are no weights")
        for step in self.steps:
            array = array.T if step == "^T" else array[self._index(step, array.shape)]
        with np.errstate(over="ignore", invalid="ignore"):
            scaled: np.ndarray = array.astype(dtype) * dtype.type(self.factor)
        if not np.isfinite(scaled).all():
            raise MisfitError(f"{self.tensor} holds numbers that are not finite in {dtype}")
        return scaled

    def _index(self, step: str, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
        texts = [text.strip() for text in step[1:-1].split(",")]
        ranges = [RANGE.fullmatch(text) for text in texts]
        if len(ranges) > len(shape):
            raise MisfitError(f"{self.tensor} has the shape {list(shape)}; {step} is of another")
        index: list[int | slice] = []
        for text, found, length in zip(texts, ranges, shape, strict=False):
            assert found is not None  # which `parse` has seen to
            bounds = [int(value) for value in found.groupdict().values() if value]
            end = max(bounds, default=0) + (found["one"] is not None)
            if end > length:
                raise MisfitError(f"{self.tensor} has the shape {list(shape)}; {text} reaches out")
            first, last = found["first"], found["last"]
            whole = slice(int(first or 0), int(last) if last else None)
            index.append(whole if found["one"] is None else int(found["one"]))
        return tuple(index)


@dataclass(frozen=True)
class NameMap:
    """The lines of a map."""

    name: str
    lines: Mapping[str, tuple[Piece, ...] | float]  # parameter -> pieces to join, or a number
    texts: Mapping[str, str]  # the same as they were written
    unused: tuple[str, ...]  # patterns of tensors to leave out

    @property
    def tensors(self) -> set[str]:
        """The names of all tensors that the lines take."""
        of_pieces = [line for line in self.lines.values() if isinstance(line, tuple)]
        return {piece.tensor for line in of_pieces for piece in line}

    def leaves_out(self, tensor: str) -> bool:
        """Whether the map says that this tensor is not used."""
        return any(fnmatchcase(tensor, pattern) for pattern in self.unused)


def read_map(path: Path, name: str) -> NameMap:
    """Return the map in a yaml file, which messages call by a name.

    Raises:
        ConfigError: it is not one, or a line of it cannot be read.
    """
    tree = read_tree(path)
    if not tree:
        raise ConfigError(f"{path} holds no line.")
    unused = tree.pop(UNUSED, None) or []
    unused = [unused] if isinstance(unused, str) else unused
    if not isinstance(unused, list) or not all(isinstance(one, str) for one in unused):
        raise ConfigError(f"{path}: unused: expected a list of names, * for any letters.")
    lines = {key: _line(value, f"{path}: {key}") for key, value in tree.items()}
    texts = {key: _text(value) for key, value in tree.items()}
    return NameMap(name, lines, texts, tuple(unused))


def _line(value: Any, place: str) -> tuple[Piece, ...] | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    pieces = value if isinstance(value, list) else [value]
    if not pieces:
        raise ConfigError(f"{place}: {FORM}; got nothing.")
    return tuple(parse(piece, place) for piece in pieces)


def parse(text: Any, place: str) -> Piece:
    """Return the piece that a text such as `0.5 * fc22.weight^T` describes."""
    found = PIECE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ConfigError(f"{place}: {FORM}; got {text!r}.")
    steps = tuple(STEP.findall(found["steps"]))
    for step in steps:
        if step != "^T" and not all(RANGE.fullmatch(one.strip()) for one in step[1:-1].split(",")):
            raise ConfigError(f"{place}: expected a slice such as [0:20] or [:, 3]; got {step}.")
    factor = 1.0 if found["factor"] is None else float(found["factor"])
    return Piece(found["quoted"] or found["name"], factor, steps)


def _text(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
