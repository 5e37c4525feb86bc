"""Help that is written for people, made of the comments in the yaml files."""

import textwrap

from avi.config import catalog

WIDTH = 80
EXAMPLES = {
    "train": """\
  avi train inference=semi_amortized        another mode, all else equal
  avi train model=linear_gaussian dataset=linear_gaussian
  avi train train.epochs=20 seed=1          settings
  avi train -m inference=svi,amortized seed=0,1,2
                                            one run for each combination; given
                                            again, it goes on where it was
  avi train train.start=<run> train.freeze=theta inference=free_form
                                            another mode on the same decoder
  avi train resume=<run> train.epochs=200   go on with a run
  avi train model=vae --cfg job             print the composed configuration
""",
    "gap": """\
  avi gap run=outputs/train/<folder>
  avi gap run=<folder> gap.splits=[test]    half the time
  avi gap run=<folder> gap.half_width=0.05  more rows, a narrower interval
  avi gap run=<folder> checkpoint=1200      at an earlier step
  avi gap run=<folder> evidence=iwae evidence.num_samples=5000
""",
    "infer": """\
  avi infer run=outputs/train/<folder>
  avi infer run=<folder> split=train
  avi infer run=<folder> data=mine.csv out=results
""",
    "compare": """\
  avi compare outputs/train/*
  avi compare outputs/sweeps/inference-1a2b/* out=comparison
""",
    "verify": """\
  avi verify
  avi verify only=linear_gaussian
""",
    "list": """\
  avi list
  avi list dataset model
""",
    "completion": """\
  eval "$(avi completion bash)"             in ~/.bashrc
  eval "$(avi completion zsh)"              in ~/.zshrc, after compinit
  avi completion fish | source              in ~/.config/fish/config.fish
""",
}
USAGE = {
    "train": "avi train [-m] [group=choice ...] [key=value ...]",
    "gap": "avi gap run=<folder> [gap.<key>=...] [evidence=...] [refine=...]",
    "compare": "avi compare <folders...> [out=<folder>]",
    "list": "avi list [group ...]",
    "completion": "avi completion bash|zsh|fish",
}
ALONE = {
    "list": "Show every choice of every group, with one line of explanation",
    "completion": "Print a script that makes Tab complete commands, choices and settings",
}


def command_help(command: str) -> str:
    """Return the help of one command."""
    file = catalog.command_file(command)
    title = ALONE[command] if command in ALONE else catalog.description(file)
    parts = [title, "", f"usage: {USAGE.get(command, f'avi {command} [key=value ...]')}"]
    if command == "train":
        parts += ["", "what to choose", *_chosen_groups()]
    if command not in ALONE:
        parts += ["", "settings", *_settings(catalog.settings(file))]
    parts += ["", "examples", EXAMPLES[command].rstrip("\n")]
    if command == "train":
        parts += ["", *textwrap.wrap(FLAGS, WIDTH), "", "`avi list` explains every choice."]
    return "\n".join(parts) + "\n"


FLAGS = (
    "Flags: -m sweeps over values with commas; --cfg job prints the configuration; -cd <folder> "
    "adds a folder of your own yaml files; dry_run=true lists the jobs."
)


def choices(names: list[str]) -> str:
    """Return every choice of the groups `names`, with its line."""
    known = catalog.groups()
    lines = []
    for name in names:
        lines += ["", name]
        width = max(map(len, known[name]))
        for choice, path in known[name].items():
            lines += _columns(choice, catalog.description(path), width)
    return "\n".join(lines[1:]) + "\n"


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
