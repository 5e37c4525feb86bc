"""Libraries that come with an extra of avi."""

from importlib import import_module
from typing import Any

from avi.errors import ConfigError


def imported(library: str, extra: str, asked: str) -> Any:
    """Return a library that `asked`, as it was typed, needs.

    Raises:
        ConfigError: it is not installed; names the extra.
    """
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{asked} needs {library}, an extra of avi. Try pip install 'avi[{extra}]'."
        ) from error
