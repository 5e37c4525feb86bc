"""Files of named tensors that may come from anyone: safetensors, npz, and PyTorch's zip."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors

from avi.datasets.formats import byte_limit, data_errors, read_all_npz, read_file
from avi.errors import ConfigError
from avi.rundir.manifest import DTYPES
from avi.weights.torch_zip import from_bytes, read_torch

SAVE = (
    "Try a .safetensors file, safetensors.torch.save_file(model.state_dict(), path), or an .npz, "
    "numpy.savez(path, **{name: array})."
)
HDF5, ZIP, PICKLE = b"\x89HDF", b"PK\x03\x04", b"\x80"
KERAS = "numpy.savez(path, **{one.path: one.numpy() for one in model.weights}) saves what avi reads"


class Tensors(NamedTuple):
    """The content of one file."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    sha256: str


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a file, whose form is told by its content, not by its name.

    Raises:
        ConfigError: there is no such file, or it is of another form.
        DataError: it is damaged, too large, or would have to be executed.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file of weights {path}.")
    content = read_file(path, byte_limit())
    with data_errors(str(path)):
        arrays = _parsed(path, content)
    if not arrays:
        raise ConfigError(f"{path} holds no tensors. {SAVE}")
    return Tensors(path, arrays, hashlib.sha256(content).hexdigest())


def _parsed(path: Path, content: bytes) -> dict[str, np.ndarray]:
    if content.startswith(ZIP):
        return _of_zip(path, content)
    if content[8:9] == b"{":
        return _of_safetensors(content)
    if content.startswith(HDF5):
        raise ConfigError(f"{path} is HDF5, which avi does not read: {KERAS}.")
    if content.startswith(PICKLE):
        raise ConfigError(f"{path} is a bare pickle, which would have to be executed. {SAVE}")
    raise ConfigError(f"{path} is neither safetensors, npz nor a zip of torch.save. {SAVE}")


def _of_zip(path: Path, content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            return read_torch(archive, byte_limit())
    if any(name.endswith(".npy") for name in names):
        return read_all_npz(io.BytesIO(content), byte_limit())
    if any(name.endswith(".weights.h5") for name in names):
        raise ConfigError(f"{path} is a Keras archive, which avi does not read: {KERAS}.")
    raise ConfigError(f"{path} is a zip without tensors. {SAVE}")


def _of_safetensors(content: bytes) -> dict[str, np.ndarray]:
    try:
        found = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    known = {**DTYPES, "BF16": "bfloat16"}
    if strange := [name for name, one in found if one["dtype"] not in known]:
        raise ValueError(f"its {strange[0]} holds numbers of a kind that avi does not read")
    return {
        name: from_bytes(bytes(one["data"]), known[one["dtype"]]).reshape(one["shape"])
        for name, one in found
    }
