"""What a run's last bits depend on beside its configuration."""

import importlib.metadata
import platform
from pathlib import Path

from avi import __version__

PACKAGES = ("jax", "jaxlib", "numpy")

# What XLA's code generator looks at, from oldest to newest.
_FLAGS = (
    "sse4_2 avx f16c fma avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile asimd sve sve2"
).split()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages whose numbers we use."""
    found = {"python": platform.python_version(), "avi": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def instruction_set() -> str:
    """Return the processor's architecture and vector extensions, e.g. `x86_64 avx fma avx2`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    listed = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    present = set(listed.partition(":")[2].split())
    return " ".join([platform.machine(), *(flag for flag in _FLAGS if flag in present)])
