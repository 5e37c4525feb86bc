"""Splitting the words of a command line: what several commands share."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from avi.config import catalog
from avi.errors import ConfigError


def halves(word: str) -> tuple[str, str]:
    """Return key and value of `key=value`."""
    key, _, value = word.partition("=")
    return key, value


def require_once(words: list[str]) -> None:
    """Refuse a key that is given twice: the first of its values would do nothing."""
    given: dict[str, str] = {}
    for word in words:
        key = halves(word)[0]
        if "=" in word and key in given:
            raise ConfigError(f"{key} is given twice, {given[key]} and {word}. Keep one of them.")
        given[key] = word


def with_folders(words: list[str]) -> list[str]:
    """Return the words without `-cd <folder>`, whose yaml files are offered from here on."""
    left, remaining = [], iter(words)
    for word in remaining:
        if word not in ("-cd", "--config-dir"):
            left.append(word)
            continue
        folder = next(remaining, None)
        if folder is None or not Path(folder).is_dir():
            raise ConfigError(f"-cd takes a folder of yaml files; there is no folder {folder}.")
        before = os.environ.get("AVI_CONFIG_PATH", "")
        os.environ["AVI_CONFIG_PATH"] = os.pathsep.join(filter(None, (folder, before)))
    return left


def taken(words: list[str], key: str) -> tuple[str | None, list[str]]:
    """Return the value of `key` (null counts as absent) and the words without it."""
    values = [value for name, value in map(halves, words) if name == key]
    others = [word for word in words if halves(word)[0] != key]
    value = values[-1].strip("'\"") if values else "null"
    return (None if value in ("", "null") else value), others


def own_keys(command: str) -> list[str]:
    """Return the keys in the yaml of a command."""
    found = catalog.settings(catalog.command_file(command))
    return [setting.key for setting in found if setting.value]


def own_words(
    command: str, words: list[str], more: tuple[str, ...] = ()
) -> tuple[dict[str, str], list[str]]:
    """Split words into the command's own keys and those that begin with one of `more`."""
    require_once(words)
    known = [key for key in own_keys(command) if not key.startswith(more)]
    own, others = {}, []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in known:
            own[key] = value
        elif equals and key.startswith(more):
            others.append(word)
        else:
            from avi.config.schema import nearest

            keys = ", ".join([*known, *(f"{name.rstrip('.')}.*" for name in more)])
            raise ConfigError(
                f"avi {command} does not know {word}; its keys are: {keys}.{nearest(key, known)}"
            )
    return {key: value for key, value in own.items() if value not in ("", "null")}, others


def run_folder(own: Mapping[str, str], command: str, more: str = "") -> Path:
    """Return the folder that run= names; `more` are words that an example of the command needs."""
    if "run" not in own:
        like = f"avi {command} run=outputs/train/<folder> {more}".rstrip()
        raise ConfigError(f"Which run? For example: {like}")
    folder = Path(own["run"])
    if not folder.is_dir():
        raise ConfigError(f"There is no run folder {folder}.")
    return folder


def whole(own: Mapping[str, str], key: str) -> int | None:
    """Return the whole number that `key` holds, None where it is not given."""
    value = own.get(key)
    if value is not None and not value.isdecimal():
        raise ConfigError(f"{key}={value}: expected a whole number, 0 or more.")
    return None if value is None else int(value)


def share(own: Mapping[str, str], key: str) -> float:
    """Return the share that `key` holds, 0 where it is not given."""
    value = own.get(key, "0")
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1:
        raise ConfigError(f"{key}={value}: expected a share, at least 0 and below 1.")
    return found


def checkpoint(own: Mapping[str, str]) -> int | Literal["best"] | None:
    """Return the step that checkpoint= names, or "best"; None where it is not given."""
    value = own.get("checkpoint")
    if value == "best":
        return "best"
    if value is not None and not value.isdecimal():
        raise ConfigError(f"checkpoint={value}: expected best, or the step of a checkpoint.")
    return None if value is None else int(value)


def data_file(own: Mapping[str, str], key: str) -> Path | None:
    """Return the file or folder of a person's own rows that `key` names, None where none is."""
    data = path(own, key)
    if data is not None and not data.exists():
        raise ConfigError(f"{key}={data}: there is no such file or folder.")
    return data


def path(own: Mapping[str, str], key: str) -> Path | None:
    """Return the path that `key` holds, None where it is not given."""
    return Path(own[key]) if key in own else None
