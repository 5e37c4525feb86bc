"""avi: amortized variational inference, run from the shell and measured in nats.

In Python: `avi.load`, `avi.train`, `avi.import_weights`, `avi.gap`, `avi.calibrate`, `avi.infer`,
`avi.export`, `avi.compare`, `avi.Run` (avi/api.py).
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Run", "calibrate", "compare", "export", "gap", "import_weights", "infer", "load", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Imported when asked for: the help of the shell imports avi too.
    if name in ("calibrate", "gap"):  # packages, which can be called
        return import_module(f"avi.{name}")
    if name in __all__:
        return getattr(import_module("avi.api"), name)
    raise AttributeError(f"module 'avi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
