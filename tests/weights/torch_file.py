"""What torch.save writes, instruction by instruction, and files that it never would."""

import io
import struct
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
EMPTY = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def pair(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def tensor(key: str, array: np.ndarray, *, offset=0, shape=None, strides=None, size=None) -> bytes:
    """Return the instructions of a tensor, by default of one that is its whole storage."""
    shape = array.shape if shape is None else shape
    apart = tuple(step // array.itemsize for step in array.strides) if strides is None else strides
    storage = b"(" + text("storage") + f"ctorch\n{STORAGES[array.dtype.name]}\n".encode()
    storage += text(key) + text("cpu") + whole(array.size if size is None else size) + b"tQ"
    form = whole(offset) + pair(shape) + pair(apart) + b"\x89" + EMPTY
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + form + b"tR"


def dictionary(items: dict[str, bytes]) -> bytes:
    return EMPTY + b"(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


def archive(pickled: bytes, storages: dict[str, bytes], compression=zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        file.writestr("model/data.pkl", pickled)
        file.writestr("model/byteorder", "little")
        for key, data in storages.items():
            file.writestr(f"model/data/{key}", data)
    return content.getvalue()


def saved(arrays: dict[str, np.ndarray], *inside: str) -> bytes:
    """Return a file of these tensors, in dictionaries `inside` one another."""
    keys = {name: str(number) for number, name in enumerate(arrays)}
    tree = dictionary({name: tensor(keys[name], array) for name, array in arrays.items()})
    for name in reversed(inside):
        tree = dictionary({name: tree})
    storages = {keys[name]: array.tobytes() for name, array in arrays.items()}
    return archive(b"\x80\x02" + tree + b".", storages)
