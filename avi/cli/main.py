"""`avi <command> [key=value ...]`: find the command, hand it its words, end with an exit code."""

import os
import sys

COMMANDS = {
    "train": "train a model under one inference mode; -m trains a grid of them",
    "gap": "measure what inference loses on a trained run, in nats",
    "infer": "write the posteriors of a run's rows, or of your own data",
    "compare": "put runs side by side in one table and one figure",
    "verify": "check avi against exact answers, one line each",
    "list": "show every choice of every group, e.g. `avi list dataset`",
    "completion": "print the completion script for bash, zsh or fish",
}
ANSWERS = ("list", "completion")  # those that only print
RESUMABLE = ("train", "gap")  # those that a scheduler stops and gives again
HELP = f"""avi: amortized variational inference, run from the shell and measured in nats

usage: avi <command> [key=value ...]

commands
{chr(10).join(f"  {name:<11} {line}" for name, line in COMMANDS.items())}

first steps
  avi train                                 a VAE on hand-written digits
  avi train inference=free_form             the same without an encoder
  avi train -m inference=svi,amortized seed=0,1,2
  avi compare outputs/train/*               one table, one figure
  avi gap run=outputs/train/<folder>        the gap report of any checkpoint
  avi infer run=outputs/train/<folder> data=mine.csv

`avi <command> --help` explains a command, `avi list` the choices.
Settings are words like train.epochs=20; nothing else has dashes but -m, --cfg,
-cd, --help and --version.

environment
  AVI_OUTPUT_DIR    where runs go, instead of outputs
  AVI_DATA_DIR      where data sets are looked for first
  AVI_CONFIG_PATH   folders with yaml files of your own, which come first
  AVI_PLUGINS       packages of your own that yaml files may name
"""


def main(arguments: list[str] | None = None) -> None:
    """Run `avi` with the words of the command line and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    code = 0
    try:
        code = run(words)
        sys.stdout.flush()
    except BrokenPipeError:  # `avi list | head` has read what it wanted
        _leave_stdout()
    except OSError as error:
        _leave_stdout()
        print(f"avi: cannot write to standard output: {error.strerror}.", file=sys.stderr)
        code = 6
    sys.exit(code)


def _leave_stdout() -> None:
    """Write no more, lest Python try again on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(words: list[str]) -> int:
    """Return the exit code of one command line."""
    if not words or words[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from avi import __version__

        print(f"avi {__version__}")
        return 0
    command, rest = words[0], words[1:]
    if command == "complete":  # asked by the scripts that `avi completion` prints
        from avi.cli.completion import complete

        print("\n".join(complete(" ".join(rest), COMMANDS)))
        return 0
    if command not in COMMANDS:
        return _refuse_command(command)
    if {"--help", "-h"} & set(rest):
        from avi.cli.help import command_help

        print(command_help(command), end="")
        return 0
    from contextlib import nullcontext

    from avi.process import signals
    from avi.process.outcome import explain

    try:
        with signals.ending_at_once() if command in RESUMABLE else nullcontext():
            return _handlers()[command](rest)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, BrokenPipeError) and command in ANSWERS:
            raise
        return explain(error)


def _refuse_command(command: str) -> int:
    import difflib

    close = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f" Did you mean avi {close[0]}?" if close else ""
    names = ", ".join(COMMANDS)
    print(f"avi: there is no command {command}; choose from: {names}.{hint}", file=sys.stderr)
    return 2


def _handlers():  # type: ignore[no-untyped-def]
    from avi.cli import words as dispatch

    return dispatch.HANDLERS
