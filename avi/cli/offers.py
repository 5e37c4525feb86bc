"""What Tab offers, from the yaml files and the table of keys alone."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from avi.cli.command import Command, Line
from avi.config import catalog
from avi.settings import KEYS, CalibrateSettings, GapSettings, InferSettings, TrainSettings

PATHS = {key.name: key.path for key in KEYS if key.path is not None}
ANNOTATIONS: dict[str, Any] = {
    **{key.name: key.annotation for key in KEYS},
    **{f"train.{field.name}": field.type for field in fields(TrainSettings)},
    **{f"gap.{field.name}": field.type for field in fields(GapSettings)},
    **{f"calibrate.{field.name}": field.type for field in fields(CalibrateSettings)},
    **{field.name: field.type for field in fields(InferSettings)},
}
SPELLED = {bool: ("true", "false"), NoneType: ("null",)}


def complete(line: str, commands: Mapping[str, Command]) -> list[str]:
    """Return what the last word of `line` (as typed, from `avi` on) can become."""
    words = line.split()
    current = "" if line.endswith(" ") or len(words) < 2 else words.pop()
    if len(words) < 2:
        return starting(current, commands)
    command = commands.get(words[1])
    return [] if command is None else command.offer(Line(words[2:], current))


def settings(line: Line, keys: Iterable[str]) -> list[str]:
    """Return the values behind an =, else those of `keys` that are not given yet."""
    key, equals, value = line.current.partition("=")
    if equals:
        return _values(key, value, line.chosen)
    return _next_parts(line.current, (f"{key}=" for key in keys if key not in line.chosen))


def keys_of_training(chosen: dict[str, str]) -> list[str]:
    """Return every key of `avi train`, blocks included, given what is `chosen`."""
    return [*catalog.packages(chosen), *catalog.keys(chosen)]


def paths(start: str, folders_only: bool) -> list[str]:
    """Return the paths that begin with `start`."""
    folder, slash, _ = start.rpartition("/")
    try:
        entries = sorted(Path(folder + slash or ".").iterdir())
    except OSError:
        return []
    names = [
        f"{folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}"
        for entry in entries
        if not entry.name.startswith(".") and (entry.is_dir() or not folders_only)
    ]
    return starting(start, names)


def starting(start: str, names: Iterable[str]) -> list[str]:
    """Return those of `names` that begin with `start`."""
    return [name for name in names if name.startswith(start)]


def _values(key: str, value: str, chosen: dict[str, str]) -> list[str]:
    """Return the completed `key=value` words; in a sweep only what follows the last comma."""
    before, comma, last = value.rpartition(",")
    block = catalog.packages(chosen).get(key)
    group = block.group if block else key
    if key in PATHS:
        found = paths(last, folders_only=PATHS[key] == "folder")
    else:
        choices = catalog.groups().get(group, ())
        found = starting(last, [*choices, *_few(ANNOTATIONS.get(key))])
    return [f"{key}={before}{comma}{name}" for name in found]


def _few(annotation: Any) -> tuple[str, ...]:
    """Return all values of a type that has only a few, else nothing."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        members = [_few(member) for member in get_args(annotation)]
        return tuple(chain(*members)) if all(members) else ()
    return SPELLED.get(annotation, ())


def _next_parts(current: str, known: Iterable[str]) -> list[str]:
    """Return the known words that begin with `current`, cut behind the next dot."""
    found = []
    for word in starting(current, known):
        head, dot, _ = word[len(current) :].partition(".")
        found.append(current + head + dot)
    return sorted(set(found))
