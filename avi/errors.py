"""What can go wrong for a person at the keyboard, one class per exit code.

Each message is one sentence (or a few short lines): what was asked, what is possible, what to type.
`cli.main` prints it without a traceback and ends with `exit_code`.
"""

from typing import ClassVar


class Refusal(Exception):
    """Base of all errors that are explained rather than shown as a traceback."""

    exit_code: ClassVar[int] = 1


class ConfigError(Refusal):
    """A command, key, choice, path or combination that cannot be carried out."""

    exit_code = 2


class BusyError(Refusal):
    """The run folder is in use by another process, or exists already."""

    exit_code = 3


class CheckpointError(Refusal):
    """No usable checkpoint: damaged, missing, or of another configuration."""

    exit_code = 4


class NonFiniteError(Refusal):
    """A bound or a gradient stopped being a finite number."""

    exit_code = 5


class ResourceError(Refusal):
    """Disk, permission, memory or download."""

    exit_code = 6


class DataError(Refusal):
    """Data that break the contract of the data set or of the likelihood."""

    exit_code = 7


class ValidityError(Refusal):
    """A gap report that contradicts itself, or a validity flag that is false under `gap.strict`."""

    exit_code = 10


class Preempted(Refusal):
    """A signal ended the run after its checkpoint was saved: the same command resumes it."""

    exit_code = 75
