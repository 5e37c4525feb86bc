"""The gap report: what inference loses on a person's own model and data, in nats per datapoint."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from avi.gap.measure import report
from avi.gap.summary import check, not_finite, require_finite

__all__ = ["check", "not_finite", "report", "require_finite"]


class _Room(ModuleType):
    """This package, which can be called too: `avi.gap(run)` is what `avi gap run=` does."""

    def __call__(self, run: Any, *words: str) -> Any:
        return import_module("avi.api").gap(run, *words)


sys.modules[__name__].__class__ = _Room
