"""What Tab offers: commands, choices, settings and paths, from the yaml files alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from avi.config import catalog
from avi.settings import Device, Precision, Split

FLAGS = ("-m", "--cfg", "-cd", "--help")
FOLDERS = ("run", "resume", "train.start", "output", "out", "sweep")
FILES = ("data", "dataset.path")
WORDS: dict[str, tuple[str, ...]] = {
    "device": get_args(Device),
    "precision": get_args(Precision),
    "split": get_args(Split),
    "train.freeze": ("theta", "null"),
    "resume_damaged": ("skip", "fail"),
}
OPTIONAL = ("experiment",)  # groups that are not filled unless asked for
SHELLS = ("bash", "zsh", "fish")

# A word ending in = . or / goes on: no space behind it. bash cuts words at =, hence the strip.
SCRIPTS = {
    "bash": r"""_avi() {
    local line="${COMP_LINE:0:$COMP_POINT}" IFS=$'\n'
    local word="${line##* }"
    COMPREPLY=($(avi complete "$line" 2>/dev/null))
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")
    fi
    if [[ "${COMPREPLY[0]}" == *[=./] ]]; then
        compopt -o nospace
    fi
}
complete -F _avi avi
""",
    "zsh": r"""#compdef avi
_avi() {
    local -a found
    found=("${(@f)$(avi complete "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    compadd -Q -S '' -- ${(M)found:#*[=./]}
    compadd -Q -- ${found:#*[=./]}
}
compdef _avi avi
""",
    "fish": r"""complete -c avi -e
complete -c avi -f -a '(avi complete (commandline -cp | string collect) 2>/dev/null)'
""",
}


def complete(line: str, commands: Iterable[str]) -> list[str]:
    """Return what the last word of `line` (as typed, from `avi` on) can become."""
    words = line.split()
    current = "" if line.endswith(" ") or len(words) < 2 else words.pop()
    if len(words) == 1:
        return _starting(current, commands)
    command, given = words[1], words[2:]
    if command == "list":
        return _starting(current, catalog.groups())
    if command == "completion":
        return _starting(current, SHELLS)
    if command == "compare" and "=" not in current:
        return [*_starting(current, ["out="]), *_paths(current, folders_only=True)]
    if command == "train" and current.startswith("-"):
        return _starting(current, FLAGS)
    if given[-1:] == ["--cfg"]:
        return _starting(current, ["job"])
    if given[-1:] == ["-cd"]:
        return _paths(current, folders_only=True)
    chosen = dict(word.split("=", 1) for word in given if "=" in word)
    if "=" in current:
        key, _, value = current.partition("=")
        return _values(key, value, chosen)
    return _next_parts(current, (key for key in _keys(command, chosen) if key[:-1] not in chosen))


def _keys(command: str, chosen: dict[str, str]) -> list[str]:
    known = [f"{key}=" for key in catalog.keys(chosen)]
    groups = [f"{block}=" for block in catalog.packages(chosen)]
    if command == "train":
        return [*groups, *known, *(f"{group}=" for group in catalog.groups() if group in OPTIONAL)]
    own = [f"{s.key}=" for s in catalog.settings(catalog.command_file(command)) if s.value]
    if command == "gap":
        own += [key for key in [*groups, *known] if key.startswith(catalog.OPEN_TO_REPORTS)]
    return own


def _values(key: str, value: str, chosen: dict[str, str]) -> list[str]:
    """Return the completed `key=value` words; in a sweep only what follows the last comma."""
    before, comma, last = value.rpartition(",")
    block = catalog.packages(chosen).get(key)
    group = block.group if block else key
    if key in FOLDERS or key in FILES:
        found = _paths(last, folders_only=key in FOLDERS)
    else:
        choices = catalog.groups().get(group, ())
        found = _starting(last, [*choices, *WORDS.get(key, _booleans(key))])
    return [f"{key}={before}{comma}{name}" for name in found]


def _booleans(key: str) -> tuple[str, ...]:
    """Return true and false for a setting that is one of them."""
    settings = {s.key: s.value for s in catalog.settings(catalog.command_file("train"))}
    return ("true", "false") if settings.get(key) in ("true", "false") else ()


def _next_parts(current: str, known: Iterable[str]) -> list[str]:
    """Return the known words that begin with `current`, cut behind the next dot."""
    found = []
    for word in _starting(current, known):
        head, dot, _ = word[len(current) :].partition(".")
        found.append(current + head + dot)
    return sorted(set(found))


def _paths(start: str, folders_only: bool) -> list[str]:
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
    return _starting(start, names)


def _starting(start: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(start)]
