"""How a command ends: one line for the person, an exit code for the shell."""

import errno
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

from avi.errors import Refusal, ResourceError

OF_THE_MACHINE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
}
INTERRUPTED = 130
OF_XLA = ("XlaRuntimeError", "JaxRuntimeError")


class Ending(NamedTuple):
    """How a command ended: the exit code, and a sentence where something went wrong."""

    code: int
    sentence: str = ""


def explain(error: BaseException, folder: Path | None = None) -> int:
    """Print what went wrong and return the exit code; a bug's traceback goes to a file."""
    return told(error, folder).code


def told(error: BaseException, folder: Path | None = None) -> Ending:
    """Print what went wrong and return it; a bug's traceback goes to a file."""
    ending = _ending(error, folder)
    if ending.sentence:
        say(ending.sentence)
    return ending


def _ending(error: BaseException, folder: Path | None) -> Ending:
    if isinstance(error, Refusal):
        return Ending(error.exit_code, str(error))
    if isinstance(error, KeyboardInterrupt):
        return Ending(INTERRUPTED, "Interrupted.")
    if isinstance(error, SystemExit):
        return Ending(error.code if isinstance(error.code, int) else int(error.code is not None))
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return Ending(ResourceError.exit_code, _of_memory(error))
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        said = f"{error.filename or 'The file system'}: {error.strerror}."
        return Ending(ResourceError.exit_code, said)
    log = _write_traceback(error, folder)
    reason = " ".join(str(error).split())[:200]
    return Ending(1, f"This is a bug: {type(error).__name__}: {reason}. The traceback is in {log}")


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether XLA could not get the memory it asked for; known by name, as this imports no jax."""
    return type(error).__name__ in OF_XLA and "RESOURCE_EXHAUSTED" in str(error)


def _of_memory(error: BaseException) -> str:
    asked = re.search(r"\d[\d.]*\s?([KMGT]i?B|bytes)", str(error))
    needed = f" ({asked[0]} were asked for)" if asked else ""
    return (
        f"Out of memory{needed}. Try a smaller train.batch_size in training; a smaller gap.width, "
        "gap.num_draws or evidence.num_samples in reports."
    )


def say(message: str) -> None:
    """Print a message for the person at the keyboard, apart from the results."""
    try:
        print(f"avi: {message}", file=sys.stderr, flush=True)
    except OSError:  # nobody listens; the exit code says it too
        sys.stderr = open("/dev/null", "w")  # noqa: SIM115


def _write_traceback(error: BaseException, folder: Path | None) -> Path:
    text = "".join(traceback.format_exception(error))
    if folder is not None and (folder / "config.yaml").is_file():
        try:
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                log.write(text)
        except OSError:
            return _write_traceback(error, None)
        return folder / "log.txt"
    descriptor, name = tempfile.mkstemp(prefix="avi-", suffix=".log")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
