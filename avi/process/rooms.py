"""Packages that are commands too: `avi.gap(run)` is what `avi gap run=` does."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """A package of avi that can be called, by the function of its name in `avi.api`."""

    def __call__(self, run: Any, *words: str) -> Any:
        return getattr(import_module("avi.api"), self.__name__.rpartition(".")[2])(run, *words)


def make_callable(package: str) -> None:
    """Let the package that is being imported be called."""
    sys.modules[package].__class__ = _Room
