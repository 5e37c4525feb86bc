"""Names of run folders, and which part of a configuration makes two runs the same run."""

import datetime
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from avi.rundir.files import encode
from avi.settings import ADDED, RESUMABLE

NAME_LIMIT = 120  # characters; file systems allow 255 bytes


def new_run_name(model: str, mode: str, dataset: str, now: datetime.datetime | None = None) -> str:
    """Return `<date>-<time>-<model>-<mode>-<dataset>-<4 hex>`."""
    moment = (now or datetime.datetime.now()).strftime("%Y-%m-%d-%H%M%S")
    return f"{_sane(moment, model, mode, dataset)}-{secrets.token_hex(2)}"


def sweep_run_name(model: str, mode: str, dataset: str, tree: Mapping[str, Any]) -> str:
    """Return `<model>-<mode>-<dataset>-<seed>-<config hash>`: the same job finds it again."""
    return f"{_sane(model, mode, dataset, str(tree['seed']))}-{config_digest(tree)[:8]}"


def _sane(*words: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(words))[: NAME_LIMIT - 10].lstrip(".-")


def config_digest(tree: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a plain config without the keys that a resumed run may change."""
    return hashlib.sha256(encode(_identity(tree)).encode()).hexdigest()


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return `key: old -> new` for every key that a resumed run may not change."""
    before, after = _identity(old), _identity(new)
    return [
        f"{key}: {before.get(key, '(absent)')} -> {after.get(key, '(absent)')}"
        for key in sorted(before.keys() | after.keys())
        if key not in before or key not in after or before[key] != after[key]
    ]


def _identity(tree: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(_leaves(tree, "")))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if path in RESUMABLE or (path in ADDED and node is None):
        return
    children = _children(node)
    if not children:
        yield path, node
    for name, child in children:
        yield from _leaves(child, f"{path}.{name}" if path else name)


def _children(node: Any) -> list[tuple[str, Any]]:
    if isinstance(node, Mapping):
        return [(str(name), child) for name, child in node.items()]
    if isinstance(node, list | tuple):
        return [(str(place), child) for place, child in enumerate(node)]
    return []
