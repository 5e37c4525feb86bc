"""What has to be set in the shell where a configuration is built again."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from avi.config.schema import NAME, plugin_packages


def environment(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables by which a tree finds components and yaml files of the user's own."""
    used = {name.partition(".")[0] for name in _names(tree)} & plugin_packages()
    found = {"AVI_PLUGINS": ",".join(sorted(used))}
    if used:
        found["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    found["AVI_CONFIG_PATH"] = os.environ.get("AVI_CONFIG_PATH", "")
    return {name: value for name, value in found.items() if value}


def _names(tree: Any) -> Iterator[str]:
    """Yield all dotted names in a plain tree."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, list):
        for node in tree:
            yield from _names(node)
    elif isinstance(tree, str) and NAME.fullmatch(tree):
        yield tree
