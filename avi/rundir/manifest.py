"""The manifest of a checkpoint, and the checks that a file from elsewhere has to pass."""

import math
import re
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from avi.rundir.files import decode, encode

# safetensors' names for the dtypes we store.
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}
HEADER_LIMIT = 2**24  # bytes of names, shapes and dtypes in front of the arrays
_SHA256 = re.compile(r"[0-9a-f]{64}")


class DamagedError(Exception):
    """A checkpoint that does not verify; the message says what is wrong with it."""


@dataclass(frozen=True)
class Manifest:
    """What is known of a checkpoint beside its arrays."""

    step: int
    num_bytes: int  # of the file of arrays
    sha256: str  # of the file of arrays
    tensors: dict[str, list[Any]]  # name -> [shape, dtype]
    config_sha256: str
    versions: dict[str, str]
    instruction_set: str
    metrics_offset: int  # bytes of metrics.jsonl that belong to it
    timing_offset: int
    extra: dict[str, float | None]  # the caller's; `valid` is the validation bound

    def encode(self) -> bytes:
        """Return the file's content."""
        return encode(vars(self)).encode()


def parse_manifest(content: bytes, step: int) -> Manifest:
    """Return the manifest of the checkpoint of `step`, or raise DamagedError."""
    try:
        record = decode(content)
    except ValueError as error:
        raise DamagedError(f"its manifest is not JSON ({error})") from error
    names = {field.name for field in fields(Manifest)}
    if not isinstance(record, dict) or record.keys() != names:
        raise DamagedError("its manifest does not have the fields of this version of avi")
    manifest = Manifest(**record)
    if not _is_sensible(manifest):
        raise DamagedError("its manifest holds values that make no sense")
    if manifest.step != step:
        raise DamagedError(f"its manifest is that of step {manifest.step}")
    return manifest


def _is_sensible(manifest: Manifest) -> bool:
    counts = manifest.step, manifest.num_bytes, manifest.metrics_offset, manifest.timing_offset
    return (
        all(_is_count(count) for count in counts)
        and all(_is_digest(text) for text in (manifest.sha256, manifest.config_sha256))
        and isinstance(manifest.instruction_set, str)
        and isinstance(manifest.versions, dict)
        and all(isinstance(text, str) for text in manifest.versions.values())
        and isinstance(manifest.extra, dict)
        and all(_is_number_or_none(value) for value in manifest.extra.values())
        and isinstance(manifest.tensors, dict)
        and all(_is_signature(signature) for signature in manifest.tensors.values())
        and 0 <= manifest.num_bytes - _size(manifest) <= HEADER_LIMIT
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number_or_none(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < 2**1000)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_signature(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], list)
        and all(_is_count(length) for length in value[0])
        and value[1] in DTYPES.values()
    )


def _size(manifest: Manifest) -> int:
    """Return the bytes of all arrays; Python's integers cannot overflow."""
    return sum(
        math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in manifest.tensors.values()
    )
