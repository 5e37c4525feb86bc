"""`avi <command> [key=value ...]`: find the command, hand it its words, end with an exit code."""

import os
import sys


def main(arguments: list[str] | None = None) -> None:
    """Run `avi` with the words of the command line and exit with its code."""
    from avi.process.terminal import print_any_letter

    words = sys.argv[1:] if arguments is None else arguments
    code = 0
    print_any_letter()
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
    from avi.cli.command import carry_out, commands

    name, rest = (words[0], words[1:]) if words else ("help", [])
    if name == "--version":
        from avi import __version__

        return _print(f"avi {__version__}")
    known = commands()
    if name in ("--help", "-h", "help"):
        from avi.cli.help import overview

        return _print(overview(known.values()))
    if name == "complete":  # asked by the scripts that `avi completion` prints
        from avi.cli.offers import complete

        return _print("\n".join(complete(" ".join(rest), known)))
    if name not in known:
        return _refuse(name, list(known))
    if {"--help", "-h"} & set(rest):
        from avi.cli.help import command_help

        return _print(command_help(known[name]))
    return carry_out(known[name], rest)


def _print(text: str) -> int:
    print(text)
    return 0


def _refuse(name: str, known: list[str]) -> int:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean avi {close[0]}?" if close else ""
    names = ", ".join(known)
    print(f"avi: there is no command {name}; choose from: {names}.{hint}", file=sys.stderr)
    return 2
