"""posterior.npz and posterior.csv: the posteriors of some rows, as `avi infer` writes them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from avi.errors import ConfigError
from avi.results.record import lines_of
from avi.results.store import Files, npz
from avi.rundir import atomic_write


class Posterior(NamedTuple):
    """One line per row."""

    row: Int[np.ndarray, " n"]  # ids
    lam: Float[np.ndarray, "n P"]
    mean: Float[np.ndarray, "n D"]
    standard_deviation: Float[np.ndarray, "n D"]
    bound: Float[np.ndarray, " n"]  # nats


def write(
    folder: Path,
    posterior: Posterior,
    names: Sequence[str] | None = None,
    title: str = "document",
) -> Path:
    """Write both files and return the path of the table; `title` stands over the rows' names."""
    atomic_write(folder / "posterior.npz", npz(posterior._asdict()))
    lines = _lines(posterior)
    if names is not None:
        lines = ([name, *line] for name, line in zip([title, *names], lines, strict=True))
    atomic_write(folder / "posterior.csv", lines_of(lines).encode())
    return folder / "posterior.csv"


def read(folder: Path) -> Posterior:
    """Return what `write` wrote.

    Raises:
        ConfigError: there is no posterior.npz with all its arrays.
    """
    found = Files(folder).arrays("posterior.npz")
    if missing := [name for name in Posterior._fields if name not in found]:
        raise ConfigError(
            f"{folder}/posterior.npz has no {missing[0]}. `avi infer run=<run>` writes it."
        )
    return Posterior(**{name: found[name] for name in Posterior._fields})


def _lines(posterior: Posterior) -> Iterator[list[str]]:
    columns = [array[:, None] if array.ndim == 1 else array for array in posterior]
    yield [
        name if array.ndim == 1 else f"{name}_{number}"
        for (name, array), column in zip(posterior._asdict().items(), columns, strict=True)
        for number in range(column.shape[1])
    ]
    for row in zip(*columns, strict=True):
        yield [_digits(value) for part in row for value in part]


def _digits(value: np.generic) -> str:
    return str(int(value)) if isinstance(value, np.integer) else f"{value:.9g}"
