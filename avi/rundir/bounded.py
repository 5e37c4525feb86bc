"""Plain files that somebody else may have written: read as data within bounds, or refused."""

import math
import os
import re
import stat
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from avi.errors import ConfigError

TEXT_LIMIT = 1 << 26  # bytes; more than any text file of a run will ever hold
TREE_LIMIT = 1 << 16  # bytes of a config.yaml; ours are a few thousand
DEPTH_LIMIT = 30  # blocks within blocks; ours have five
INTEGER_LIMIT = 1 << 64
FLOAT = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+$")


def read_bounded(path: Path, limit: int = TEXT_LIMIT) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    A device or a pipe is refused before it is read: a folder from elsewhere must not block us.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: it is not a regular file, too large, or unreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is not a regular file.")
        if status.st_size > limit:
            raise ConfigError(f"{path} has {status.st_size} bytes; expected at most {limit}.")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def read_tree(path: Path) -> dict[str, Any]:
    """Return the tree in a run's config.yaml: plain data, with no `${...}` and no aliases."""
    try:
        content = read_bounded(path, TREE_LIMIT)
    except FileNotFoundError as error:
        raise ConfigError(f"{path.parent} is not a run folder: it has no {path.name}.") from error
    try:
        tree = yaml.load(content.decode(), Loader=_plain_loader())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not plain yaml: {_reason(error)}.") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(tree).__name__}.")
    _require_plain(tree, str(path))
    return tree


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@cache
def _plain_loader() -> type[yaml.SafeLoader]:
    class PlainLoader(yaml.SafeLoader):
        """Safe yaml without aliases and of bounded depth, in which 1e-3 is a number."""

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self.depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not allowed")
            if self.depth == DEPTH_LIMIT:
                raise yaml.YAMLError(f"more than {DEPTH_LIMIT} blocks within blocks")
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
    return PlainLoader


def _require_plain(node: Any, path: str) -> None:
    if isinstance(node, dict):
        for key, child in node.items():
            if not isinstance(key, str) or (key.startswith("_") and key != "_target_"):
                raise ConfigError(f"{path}: the key {key!r} is not allowed.")
            _require_text(key, path)
            _require_plain(child, f"{path}: {key}" if ": " not in path else f"{path}.{key}")
    elif isinstance(node, list):
        for child in node:
            _require_plain(child, path)
    elif isinstance(node, str):
        _require_text(node, path)
    elif isinstance(node, float):
        if not math.isfinite(node):
            raise ConfigError(f"{path}: expected a finite number, got {node}.")
    elif isinstance(node, int):
        if abs(node) >= INTEGER_LIMIT:
            raise ConfigError(f"{path}: the number has more than 64 bits.")
    elif node is not None:
        raise ConfigError(f"{path}: expected plain data, got a {type(node).__name__}.")


def _require_text(text: str, path: str) -> None:
    if "${" in text:
        raise ConfigError(f"{path}: an unresolved {text[:40]!r} is not allowed.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError(f"{path}: {text[:40]!r} is not text.")
