"""`avi train`: train a model, go on with a run, or train a grid of them."""

from pathlib import Path
from typing import NamedTuple

from avi.cli.command import Command, Line
from avi.cli.words import require_once, taken, with_folders
from avi.errors import ConfigError

FLAGS = ("-m", "--cfg", "-cd", "--help")
SPELLED_OUT = ("--multirun", "--config-dir")


class Flags(NamedTuple):
    """The few flags of `avi train`, and the words that are left."""

    multirun: bool
    print_config: bool
    words: list[str]


def run(words: list[str]) -> int:
    """Compose the jobs and run, resume, list or print them."""
    flags = _flags(words)
    require_once(flags.words)
    folder, others = taken(flags.words, "resume")
    if folder is not None:
        return _resume(Path(folder), others, flags)
    from avi.config.compose import as_yaml, compose
    from avi.launch import places

    jobs = compose(others, flags.multirun)
    if flags.print_config:
        return _say("\n---\n".join(as_yaml(job.tree) for job in jobs))
    return places.sweep(jobs) if flags.multirun else places.train_one(jobs[0])


def offer(line: Line) -> list[str]:
    """Return flags, what follows them, groups and settings."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, FLAGS)
    if line.given[-1:] == ["--cfg"]:
        return offers.starting(line.current, ["job"])
    if line.given[-1:] == ["-cd"]:
        return offers.paths(line.current, folders_only=True)
    return offers.settings(line, [*offers.keys_of_training(line.chosen), "experiment"])


def _resume(folder: Path, words: list[str], flags: Flags) -> int:
    if flags.multirun:
        raise ConfigError("resume= goes on with one run; a sweep resumes its jobs by itself.")
    if not flags.print_config:
        from avi.launch import places

        return places.resume(folder, words)
    from avi.config.compose import as_yaml, override
    from avi.rundir import RunDir
    from avi.rundir.bounded import read_tree

    return _say(as_yaml(override(read_tree(RunDir.open(folder).config_path), words)))


def _say(text: str) -> int:
    from avi.process.terminal import say

    say(text)
    return 0


def _flags(words: list[str]) -> Flags:
    """Take the flags out of the words, wherever they stand."""
    left, multirun, print_config = [], False, False
    remaining = iter(with_folders(words))
    for word in remaining:
        if word in ("-m", "--multirun"):
            multirun = True
        elif word in ("--cfg", "-c"):
            print_config = True
            if next(remaining, None) != "job":
                raise ConfigError("--cfg takes one word: --cfg job prints the composed config.")
        elif word.startswith("-"):
            from avi.config.schema import nearest

            near = nearest(word, (*FLAGS, *SPELLED_OUT))
            raise ConfigError(f"There is no flag {word}; settings are written key=value.{near}")
        else:
            left.append(word)
    return Flags(multirun, print_config, left)


COMMAND = Command(
    name="train",
    summary="train a model under one inference mode; -m trains a grid of them",
    usage="avi train [-m] [group=choice ...] [key=value ...]",
    examples="""\
  avi train inference=semi_amortized        another mode, all else equal
  avi train model=linear_gaussian dataset=linear_gaussian
  avi train train.epochs=20 seed=1          settings
  avi train -m inference=svi,amortized seed=0,1,2
                                            one run for each combination; given
                                            again, it goes on where it was
  avi train -m seed=0,1,2 launcher=slurm    a sweep by SLURM: avi docs clusters
  avi train train.start=<run> train.freeze=theta inference=free_form
                                            another mode on the same decoder
  avi train resume=<run> train.epochs=200   go on with a run
  avi train model=vae --cfg job             print the composed configuration
""",
    run=run,
    offer=offer,
    groups=True,
    notes=(
        "Flags: -m sweeps over values with commas; --cfg job prints the configuration; "
        "-cd <folder> adds a folder of your own yaml files; dry_run=true lists the jobs.",
        "`avi list` explains every choice.",
    ),
    resumable=True,
)
