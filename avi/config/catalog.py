"""What can be chosen: groups, choices and settings, read from the yaml files line by line.

Help and completion live on this file alone, so it knows just enough yaml for our own files (one
key per line, the comment behind it) and imports neither a yaml library nor Hydra.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SETTING = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?P<value>[^#]*)(#\s*(?P<comment>.*))?$")
DEFAULT = re.compile(
    r"^ *- *(override +)?/?(?P<group>[\w/]+)(@(?P<package>[\w.]+))? *: *(?P<choice>[\w.-]+)"
)


class Setting(NamedTuple):
    """One line of a yaml file: a dotted key, its value as text, and what it means."""

    key: str
    value: str
    comment: str


class Default(NamedTuple):
    """One line of a defaults list: group, the package it fills, and the choice."""

    group: str
    package: str
    choice: str

    def inside(self, package: str) -> str:
        """Return the package this entry fills when it stands in a yaml that fills `package`."""
        absolute = self.package.removeprefix("_global_.")
        return absolute if absolute != self.package else f"{package}.{self.package}"


def config_dir() -> Path:
    """Return the folder of the built-in yaml files: beside avi/ in a checkout, else inside."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "configs"
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return package / "configs"


def search_path() -> list[Path]:
    """Return the folders of yaml files; what stands first hides what comes later."""
    own = os.environ.get("AVI_CONFIG_PATH", "").split(os.pathsep)
    return [*(Path(word).expanduser().resolve() for word in own if word), config_dir()]


def groups() -> dict[str, dict[str, Path]]:
    """Return the file of every choice of every group."""
    found: dict[str, dict[str, Path]] = {}
    for folder in reversed(search_path()):
        for path in sorted(folder.glob("*/**/*.yaml")):
            group = path.parent.relative_to(folder).as_posix()
            found.setdefault(group, {})[path.stem] = path
    return {group: dict(sorted(choices.items())) for group, choices in sorted(found.items())}


def command_file(command: str) -> Path:
    """Return the yaml with the keys of `command`."""
    found = (folder / f"{command}.yaml" for folder in search_path())
    return next((path for path in found if path.is_file()), config_dir() / f"{command}.yaml")


def description(path: Path) -> str:
    """Return the first comment of a yaml file (a `@package` line is for Hydra, not for people)."""
    for line in _lines(path):
        if line.startswith("#") and not line.startswith("# @"):
            return line.lstrip("# ").rstrip()
    return ""


def fills_all(path: Path) -> bool:
    """Return whether the keys of a yaml file are those of the whole tree, not of its own block."""
    return "# @package _global_" in _lines(path)[:1]


def settings(path: Path) -> list[Setting]:
    """Return the settings of a yaml file, with the comments behind them."""
    found: list[Setting] = []
    parents: list[str] = []
    item: int | None = None
    for line in _lines(path):
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("- "):
            item = indent  # what is inside a list has no dotted key
        match = SETTING.match(line)
        if match is None or (item is not None and indent > item):
            continue
        item = None
        depth = len(match["indent"]) // 2
        parents = [*parents[:depth], match["key"]]
        if parents[0] not in ("defaults", "hydra") and match["key"] != "_target_":
            key, value = ".".join(parents), match["value"].strip()
            found.append(Setting(key, value, (match["comment"] or "").strip()))
    return found


def defaults(path: Path) -> list[Default]:
    """Return the entries of the defaults list of a yaml file."""
    found = []
    for line in _lines(path):
        match = DEFAULT.match(line)
        if match is not None and not match["group"].startswith("hydra"):
            package = (match["package"] or match["group"]).replace("/", ".")
            found.append(Default(match["group"], package, match["choice"]))
    return found


def packages(chosen: dict[str, str]) -> dict[str, Default]:
    """Return what fills each block of `avi train`, given what is `chosen` (package -> choice)."""
    files, found = groups(), {}

    def visit(entry: Default, package: str) -> None:
        found[package] = Default(entry.group, package, chosen.get(package, entry.choice))
        path = files.get(entry.group, {}).get(found[package].choice)
        for inner in defaults(path) if path else ():
            visit(inner, inner.inside(package))

    for default in defaults(command_file("train")):
        visit(default, default.package)
    return found


def keys(chosen: dict[str, str]) -> Iterator[str]:
    """Yield every dotted key of `avi train`, given what is `chosen` (package -> choice)."""
    yield from (setting.key for setting in settings(command_file("train")) if setting.value)
    files = groups()
    for package, entry in packages(chosen).items():
        path = files.get(entry.group, {}).get(entry.choice)
        if path is not None:
            inside = "" if fills_all(path) else f"{package}."
            yield from (f"{inside}{setting.key}" for setting in settings(path) if setting.value)


def choices_with(key: str, group: str) -> list[str]:
    """Return the choices of a group that bring a dotted key of its block, such as evidence.rows."""
    return [name for name in groups().get(group, {}) if key in keys({group: name})]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
