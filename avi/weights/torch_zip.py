"""PyTorch's zip of tensors, of which nothing is executed.

    archive/data.pkl      what torch.save was given, pickled
    archive/data/<key>    the bytes of each storage

A pickle is a program. This reader knows the few of its instructions that torch.save writes for
dictionaries of tensors, calls nothing but its own two functions, and refuses all else by its name.
"""

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from avi.datasets.formats import MAX_DIMENSIONS

PICKLE_LIMIT = 1 << 24  # bytes; a tensor takes some 200 of them
NESTING_LIMIT = 30  # dictionaries in dictionaries
TENSORS_LIMIT = 100_000
ADVICE = (
    "nothing of a file is executed here. Save tensors alone: torch.save(model.state_dict(), path), "
    "or safetensors.torch.save_file(model.state_dict(), path)"
)
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class _Name(NamedTuple):
    """A class or function that the pickle names; it is never looked up."""

    text: str


class _Storage(NamedTuple):
    dtype: str
    key: str
    size: int  # elements


class _View(NamedTuple):
    """A tensor: `shape` elements of a storage from `offset` on, `strides` elements apart."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(archive: zipfile.ZipFile, limit: int) -> dict[str, np.ndarray]:
    """Return the tensors of an archive of torch.save by their names, joined by dots.

    Raises:
        ValueError: it holds anything but dictionaries and lists of tensors and plain values, or
            more than `limit` bytes of tensors.
    """
    members = {member.filename: member for member in archive.infolist()}
    pickled = next(name for name in members if name.endswith("/data.pkl"))
    root = pickled.removesuffix("data.pkl")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
        raise ValueError("it is compressed, which torch.save never does")
    if members[pickled].file_size > PICKLE_LIMIT:
        raise ValueError(f"its data.pkl has more than {PICKLE_LIMIT} bytes")
    order = f"{root}byteorder"
    if order in members and archive.read(order) != b"little":
        raise ValueError("its numbers are not little-endian")
    tree = _Machine().run(archive.read(pickled))
    views = dict(_tensors(tree, (), [TENSORS_LIMIT]))
    if 8 * sum(np.prod(view.shape, dtype=float) for view in views.values()) > limit:
        raise ValueError(f"its tensors may take more than {limit} bytes")
    contents = {
        view.storage.key: archive.read(f"{root}data/{view.storage.key}") for view in views.values()
    }
    return {name: _array(view, contents[view.storage.key]) for name, view in views.items()}


def _tensors(tree: Any, path: tuple[str, ...], left: list[int]) -> Iterator[tuple[str, _View]]:
    """Yield every tensor with its name; `left` counts what may still be looked at."""
    left[0] -= 1
    if not left[0] or len(path) > NESTING_LIMIT:
        raise ValueError("it holds more than a model's tensors, or itself")
    if isinstance(tree, _View):
        yield ".".join(path), tree
    elif isinstance(tree, dict):
        for key, child in tree.items():
            yield from _tensors(child, (*path, str(key)), left)
    elif isinstance(tree, list):
        for number, child in enumerate(tree):
            yield from _tensors(child, (*path, str(number)), left)


def _array(view: _View, content: bytes) -> np.ndarray:
    """Return the elements that a view shows, none of them outside of its storage."""
    storage, shape, strides = view.storage, view.shape, view.strides
    flat = from_bytes(content, storage.dtype)
    last = view.offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if len(flat) != storage.size or np.prod(shape, dtype=float) > storage.size:
        raise ValueError(f"the storage {storage.key} is not of the size that its tensors need")
    if not np.prod(shape, dtype=float):
        return np.zeros(shape, flat.dtype)
    if last >= storage.size:
        raise ValueError(f"a tensor reaches beyond its storage {storage.key}")
    apart = tuple(step * flat.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(flat[view.offset :], shape, apart).copy()


def from_bytes(content: bytes, dtype: str) -> np.ndarray:
    """Return the numbers of a buffer; those of bfloat16, which numpy lacks, as float32."""
    if dtype == "bfloat16":
        return (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(content, dtype)


class _Machine:
    """The instructions of a pickle that build dictionaries, lists and views of storages."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        """Return what the pickle builds; ValueError where an instruction is not known."""
        argument: Any
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name in _PUT:
                place = len(self.memo) if argument is None else argument
                self.memo[place] = self.stack[-1]
            elif opcode.name in _GET:
                self.stack.append(self.memo[argument])
            elif opcode.name in _LITERALS:
                self.stack.append(argument)
            elif opcode.name in _ACTIONS:
                _ACTIONS[opcode.name](self, argument)
            elif opcode.name not in _NOTHING:
                raise ValueError(f"its pickle has the instruction {opcode.name}; {ADVICE}")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        """Return what was put on the stack since the last mark, which is taken off."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def mark(self, _: Any) -> None:
        """Begin a stack of its own."""
        self.below.append(self.stack)
        self.stack = []

    def name(self, text: str) -> None:
        """Put a name, "module attribute", on the stack if it is one that tensors are made of."""
        known = text.replace(" ", ".")
        module, _, last = known.rpartition(".")
        if known not in _CALLS and not (module == "torch" and last in DTYPES):
            raise ValueError(f"it asks for {known[:100]}, which is no tensor; {ADVICE}")
        self.stack.append(_Name(known))

    def stack_name(self, _: Any) -> None:
        """Put the name on the stack that its two last strings make."""
        last, module = self.stack.pop(), self.stack.pop()
        self.name(f"{module} {last}")

    def storage(self, _: Any) -> None:
        """Replace ("storage", class, key, place, size) by the storage."""
        kind, of, key, _, size = self.stack.pop()
        if kind != "storage" or not isinstance(of, _Name) or not isinstance(key, str):
            raise ValueError("its pickle refers to something else than a storage")
        self.stack.append(_Storage(DTYPES[of.text.removeprefix("torch.")], key, _whole(size)))

    def call(self, _: Any) -> None:
        """Replace a name and its arguments by what this reader makes of them."""
        arguments, of = self.stack.pop(), self.stack.pop()
        if not isinstance(of, _Name) or of.text not in _CALLS:
            raise ValueError(f"its pickle calls something that is no function; {ADVICE}")
        self.stack.append(_CALLS[of.text](*arguments))

    def make(self, kind: Callable[[list[Any]], Any], number: int | None = None) -> None:
        """Put a container of the last `number` values on the stack, None: of those since a mark."""
        if number is None:
            values = self.since_mark()
        else:
            values = self.stack[len(self.stack) - number :]
            del self.stack[len(self.stack) - number :]
        self.stack.append(kind(values))

    def set_items(self, pairs: list[Any]) -> None:
        """Put keys and values, in turns, into the dictionary below them."""
        keys, target = pairs[::2], self.stack[-1]
        if not isinstance(target, dict) or any(type(key) not in (str, int) for key in keys):
            raise ValueError("its dictionaries are not of names")
        target.update(zip(keys, pairs[1::2], strict=True))

    def extend(self, values: list[Any]) -> None:
        """Put values at the end of the list below them."""
        if not isinstance(self.stack[-1], list):
            raise ValueError("its lists are no lists")
        self.stack[-1].extend(values)

    def forget_state(self, _: Any) -> None:
        """Leave out the attributes of a dictionary: versions of modules, no tensors."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise ValueError(f"its pickle builds an object; {ADVICE}")


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("the form of a tensor is not given in whole numbers")
    return value


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _View:
    if not isinstance(storage, _Storage) or not len(shape) == len(strides) <= MAX_DIMENSIONS:
        raise ValueError("a tensor has no storage, or no form")
    return _View(storage, _whole(offset), tuple(map(_whole, shape)), tuple(map(_whole, strides)))


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    if pairs:
        raise ValueError("its pickle fills a dictionary in a way that torch.save does not")
    return {}


_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "collections.OrderedDict": _ordered,
}
_NOTHING = ("PROTO", "FRAME", "STOP")
_PUT = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GET = ("GET", "BINGET", "LONG_BINGET")
_LITERALS = (
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1",
    "BINFLOAT",
)  # fmt: skip
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.forget_state,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE": lambda machine, _: machine.make(tuple),
    "TUPLE1": lambda machine, _: machine.make(tuple, 1),
    "TUPLE2": lambda machine, _: machine.make(tuple, 2),
    "TUPLE3": lambda machine, _: machine.make(tuple, 3),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
}
