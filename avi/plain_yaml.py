"""Plain yaml that somebody else may have written: read as data, or refused."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from avi.errors import ConfigError

TREE_LIMIT = 1 << 20  # bytes of a config.yaml; ours are a few thousand
FLOAT = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+")


def read_tree(path: Path) -> dict[str, Any]:
    """Return the tree in a run's config.yaml: plain data, with no `${...}` and no aliases."""
    try:
        with path.open("rb") as file:
            content = file.read(TREE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{path.parent} is not a run folder: it has no {path.name}.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > TREE_LIMIT:
        raise ConfigError(f"{path} is larger than {TREE_LIMIT} bytes: not a config of a run.")
    try:
        tree = yaml.load(content.decode(), Loader=_plain_loader())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path} is not plain yaml: {reason}.") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(tree).__name__}.")
    _require_plain(tree, str(path))
    return tree


@cache
def _plain_loader() -> type[yaml.SafeLoader]:
    class PlainLoader(yaml.SafeLoader):
        """Safe yaml without aliases, in which 1e-3 is a number as in yaml 1.2."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not allowed")
            return super().compose_node(parent, index)

    PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
    return PlainLoader


def _require_plain(node: Any, path: str) -> None:
    if isinstance(node, dict):
        for key, child in node.items():
            if not isinstance(key, str) or (key.startswith("_") and key != "_target_"):
                raise ConfigError(f"{path}: the key {key!r} is not allowed.")
            _require_plain(child, f"{path}: {key}" if ": " not in path else f"{path}.{key}")
    elif isinstance(node, list):
        for child in node:
            _require_plain(child, path)
    elif isinstance(node, str) and "${" in node:
        raise ConfigError(f"{path}: an unresolved {node[:40]!r} is not allowed.")
    elif not (node is None or isinstance(node, str | int | float | bool)):
        raise ConfigError(f"{path}: expected plain data, got a {type(node).__name__}.")
