"""Help that is written for people, made of a command's own words and the comments of its yaml."""

import textwrap
from collections.abc import Iterable

from avi.cli.command import Command
from avi.config import catalog

WIDTH = 80
OVERVIEW = """\
avi: amortized variational inference, run from the shell and measured in nats

usage: avi <command> [key=value ...]

commands
{commands}

first steps
  avi train                                 a VAE on hand-written digits
  avi train inference=free_form             the same without an encoder
  avi train -m inference=svi,amortized seed=0,1,2
  avi compare outputs/train/*               one table, one figure
  avi gap run=outputs/train/<folder>        the gap report of any checkpoint
  avi infer run=outputs/train/<folder> data=mine.csv

`avi <command> --help` explains a command, `avi list` the choices, `avi docs`
has a page for each question.
Settings are words like train.epochs=20; only flags have dashes: -m, --cfg, -cd,
--help, --version, --json where there is a table, --sort and --where of runs.

environment
  AVI_OUTPUT_DIR    where runs go, instead of outputs
  AVI_DATA_DIR      where data sets are looked for first
  AVI_CONFIG_PATH   folders with yaml files of your own, which come first
  AVI_PLUGINS       packages of your own that yaml files may name"""


def overview(commands: Iterable[Command]) -> str:
    """Return the help of `avi` as a whole."""
    lines = (f"  {command.name:<11} {command.summary}" for command in commands)
    return OVERVIEW.format(commands="\n".join(lines))


def command_help(command: Command) -> str:
    """Return the help of one command."""
    file = catalog.command_file(command.name)
    parts = [command.title or catalog.description(file), "", f"usage: {command.usage}"]
    if command.groups:
        parts += ["", "what to choose", *_chosen_groups()]
    if command.title is None:
        parts += ["", "settings", *_settings(catalog.settings(file))]
    parts += ["", "examples", command.examples.rstrip("\n")]
    for note in command.notes:
        parts += ["", *textwrap.wrap(note, WIDTH)]
    return "\n".join(parts)


def choices(names: list[str]) -> str:
    """Return every choice of the groups `names`, with its line."""
    known = catalog.groups()
    lines = []
    for name in names:
        lines += ["", name]
        width = max(map(len, known[name]))
        for choice, path in known[name].items():
            lines += _columns(choice, catalog.description(path), width)
    return "\n".join(lines[1:])


def _chosen_groups() -> list[str]:
    known = catalog.groups()
    chosen = {entry.group: entry.choice for entry in catalog.packages({}).values()}
    order = [*dict.fromkeys([*chosen, *known])]
    lines = []
    for group in order:
        if group in known:
            names = (f"{name}*" if name == chosen.get(group) else name for name in known[group])
            lines += _columns(group, " ".join(names), 12)
    return [*lines, "", "  * by default; some follow from the model, the mode or the data"]


def _settings(found: list[catalog.Setting]) -> list[str]:
    lines: list[str] = []
    for setting in found:
        if setting.value or setting.comment:
            lines += _columns(f"{setting.key}={setting.value}", setting.comment, 26)
    return lines


def _columns(left: str, right: str, width: int) -> list[str]:
    """Return `left` and `right` side by side within 80 columns."""
    indent = " " * (width + 4)
    if len(left) > width:
        return [
            f"  {left}",
            *textwrap.wrap(right, WIDTH, initial_indent=indent, subsequent_indent=indent),
        ]
    wrapped = textwrap.wrap(right, WIDTH - width - 4) or [""]
    return [f"  {left:<{width}}  {wrapped[0]}".rstrip(), *(indent + line for line in wrapped[1:])]
