"""What each command does with its words, up to the call of its plain function."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from avi.config import catalog
from avi.config import compose as config
from avi.config.schema import check, nearest
from avi.errors import ConfigError
from avi.launch import places as launch
from avi.process.outcome import explain
from avi.process.terminal import say
from avi.rundir import RunDir
from avi.settings import Split


class Flags(NamedTuple):
    """The few flags of `avi train`, and the words that are left."""

    multirun: bool
    print_config: bool
    words: list[str]


def train(words: list[str]) -> int:
    """Compose the jobs and run, resume, list or print them."""
    flags = _flags(words)
    folder, others = _taken(flags.words, "resume")
    if folder is not None:
        if flags.multirun:
            raise ConfigError("resume= goes on with one run; a sweep resumes its jobs by itself.")
        if flags.print_config:
            there = config.read_tree(RunDir.open(Path(folder)).config_path)
            say(config.as_yaml(config.override(there, others)))
            return 0
        return launch.resume(Path(folder), others)
    jobs = config.compose(others, flags.multirun)
    if flags.print_config:
        say("\n---\n".join(config.as_yaml(job.tree) for job in jobs))
        return 0
    return launch.sweep(jobs) if flags.multirun else launch.train_one(jobs[0])


def gap(words: list[str]) -> int:
    """Measure a run's gap: its own configuration, changed by gap.yaml, then by the words."""
    own, others = _own_words("gap", words, more=catalog.OPEN_TO_REPORTS)
    run = _folder(own, "gap")
    checkpoint = own.get("checkpoint")
    tree = config.read_tree(run / "config.yaml")
    others = [*_defaults_of_gap(others), *others]
    chosen = {key: name for key, name in map(_halves, others) if key in config.REPLACEABLE}
    tree = config.replace_groups(tree, chosen)
    tree = config.override(tree, [word for word in others if _halves(word)[0] not in chosen])
    config.check_settings(tree)

    from avi.run import measure as command

    step = None if checkpoint is None else _whole("checkpoint", checkpoint)
    return _logged(run, lambda: command.main(run, tree, step))


def infer(words: list[str]) -> int:
    """Write posteriors."""
    own, _ = _own_words("infer", words)
    run = _folder(own, "infer")
    data, out, limit = (own.get(key) for key in ("data", "out", "limit"))
    split: Split = check(own.get("split", "test"), Split, "split")
    if data is not None and not Path(data).is_file():
        raise ConfigError(f"data={data}: there is no such file.")

    from avi.run import posterior as command

    arguments = (
        None if data is None else Path(data),
        None if out is None else Path(out),
        None if limit is None else _whole("limit", limit),
    )
    return _logged(run, lambda: command.main(run, split, *arguments))


def compare(words: list[str]) -> int:
    """Put runs side by side."""
    folders = [Path(word) for word in words if not word.startswith("out=")]
    own, _ = _own_words("compare", [word for word in words if word.startswith("out=")])
    if not folders:
        raise ConfigError("Which runs? For example: avi compare outputs/train/*")
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {folder}.")

    from avi.cli import compare as command

    command.main(folders, Path(own["out"]) if "out" in own else None)
    return 0


def verify(words: list[str]) -> int:
    """Check avi against exact answers."""
    own, _ = _own_words("verify", words)

    from avi.cli import verify as command

    command.main(own.get("only"))
    return 0


def show_choices(words: list[str]) -> int:
    """Print the choices of all groups or of those named."""
    from avi.cli.help import choices

    known = catalog.groups()
    for word in words:
        if word not in known:
            names = ", ".join(known)
            raise ConfigError(
                f"There is no group {word}; choose from: {names}.{nearest(word, known)}"
            )
    print(choices(words or list(known)), end="")
    return 0


def completion(words: list[str]) -> int:
    """Print the script that a shell sources."""
    from avi.cli.completion import SCRIPTS

    if len(words) != 1 or words[0] not in SCRIPTS:
        raise ConfigError("Which shell? Type: avi completion bash, zsh or fish.")
    print(SCRIPTS[words[0]], end="")
    return 0


HANDLERS: Mapping[str, Callable[[list[str]], int]] = {
    "train": train,
    "gap": gap,
    "infer": infer,
    "compare": compare,
    "verify": verify,
    "list": show_choices,
    "completion": completion,
}


def _logged(run: Path, work: Callable[[], None]) -> int:
    """Do the work and return its exit code; a bug's traceback goes to the log of the run."""
    try:
        work()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return explain(error, run)
    return 0


def _flags(words: list[str]) -> Flags:
    """Take the flags out of the words, wherever they stand."""
    left, multirun, print_config = [], False, False
    remaining = iter(words)
    for word in remaining:
        if word in ("-m", "--multirun"):
            multirun = True
        elif word in ("--cfg", "-c"):
            print_config = True
            if next(remaining, None) != "job":
                raise ConfigError("--cfg takes one word: --cfg job prints the composed config.")
        elif word in ("-cd", "--config-dir"):
            _add_folder(next(remaining, None))
        elif word.startswith("-"):
            flags = ("-m", "--multirun", "--cfg", "-cd", "--config-dir", "--help")
            raise ConfigError(
                f"There is no flag {word}; settings are written key=value.{nearest(word, flags)}"
            )
        else:
            left.append(word)
    return Flags(multirun, print_config, left)


def _add_folder(folder: str | None) -> None:
    if folder is None or not Path(folder).is_dir():
        raise ConfigError(f"-cd takes a folder of yaml files; there is no folder {folder}.")
    before = os.environ.get("AVI_CONFIG_PATH", "")
    os.environ["AVI_CONFIG_PATH"] = os.pathsep.join(filter(None, (folder, before)))


def _defaults_of_gap(words: list[str]) -> list[str]:
    """Return the lines of gap.yaml that change the run's configuration, as words.

    A setting of the run's own evidence, evidence.num_chains=8, keeps that evidence.
    """
    given = {key.partition(".")[0] for key, _ in map(_halves, words)}
    return [
        f"{key}={value}"
        for key, value, _ in catalog.settings(catalog.command_file("gap"))
        if key.startswith(catalog.OPEN_TO_REPORTS) and value and key not in given
    ]


def _own_words(
    command: str, words: list[str], more: tuple[str, ...] = ()
) -> tuple[dict[str, str], list[str]]:
    """Split words into the command's own keys and those that begin with one of `more`."""
    settings = (setting.key for setting in catalog.settings(catalog.command_file(command)))
    known = [key for key in settings if not more or not key.startswith(more)]
    own, others = {}, []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in known:
            own[key] = value
        elif equals and key.startswith(more):
            others.append(word)
        else:
            keys = ", ".join([*known, *(f"{name.rstrip('.')}.*" for name in more)])
            raise ConfigError(
                f"avi {command} does not know {word}; its keys are: {keys}.{nearest(key, known)}"
            )
    return {key: value for key, value in own.items() if value not in ("", "null")}, others


def _folder(own: Mapping[str, str], command: str) -> Path:
    if "run" not in own:
        raise ConfigError(f"Which run? For example: avi {command} run=outputs/train/<folder>")
    folder = Path(own["run"])
    if not folder.is_dir():
        raise ConfigError(f"There is no run folder {folder}.")
    return folder


def _whole(key: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"{key}={text}: expected a whole number, 0 or more.")
    return int(text)


def _halves(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _taken(words: list[str], key: str) -> tuple[str | None, list[str]]:
    """Return the value of `key` (null counts as absent) and the words without it."""
    values = [value for name, value in map(_halves, words) if name == key]
    others = [word for word in words if _halves(word)[0] != key]
    value = values[-1].strip("'\"") if values else "null"
    return (None if value in ("", "null") else value), others
