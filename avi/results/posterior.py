"""posterior.npz and posterior.csv: the posteriors of some rows, as `avi infer` writes them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from avi.errors import ConfigError
from avi.results.record import lines_of, write_lines
from avi.results.store import Files, npz, packed, unpacked, write_npz
from avi.rundir import atomic_write

ACCEPTED, REFINED, FLAGGED = "accepted", "refined", "flagged"  # as the mode gives it, searched
HEAVY, OTHER_START = "khat", "other-start"  # flags beside the ends of a search
FILE, DRAWS = "posterior.npz", "draws.npz"
IMPUTED, FILLED, HELD_OUT = "imputed.csv", "filled.csv", "held_out.csv"


class Posterior(NamedTuple):
    """One line per row; None: nobody asked for it."""

    row: Int[np.ndarray, " n"]  # ids
    lam: Float[np.ndarray, "n P"]
    mean: Float[np.ndarray, "n D"]
    standard_deviation: Float[np.ndarray, "n D"]
    bound: Float[np.ndarray, " n"]  # nats
    source: tuple[str, ...] | None = None
    flags: tuple[str, ...] | None = None  # why a row is flagged
    certificate: Float[np.ndarray, " n"] | None = None  # nats that lam lacks
    certificate_se: Float[np.ndarray, " n"] | None = None
    khat: Float[np.ndarray, " n"] | None = None
    ms: Float[np.ndarray, " n"] | None = None
    # What else was asked for, by name: each has the rows as its leading axis.
    more: Mapping[str, np.ndarray] = MappingProxyType({})


WORDS = ("source", "flags")  # in the file as bytes, a line for each row
# In the table: what is said of a row before its numbers.
ORDER = (
    *("row", "source", "flags", "certificate", "certificate_se", "khat", "ms", "bound"),
    *("mean", "standard_deviation"),
)


def write(
    folder: Path,
    posterior: Posterior,
    names: Sequence[str] | None = None,
    title: str = "document",
    columns: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Path:
    """Write both files and return the path of the table.

    Args:
        folder: where to.
        posterior: the rows.
        names: of the rows, for the table.
        title: over these names.
        columns: of an array in `more`, what its columns are called; else they are numbered.
    """
    arrays = _by_name(posterior)
    packed_too = {name: packed(a) if name in WORDS else a for name, a in arrays.items()}
    atomic_write(folder / FILE, lambda file: write_npz(file, packed_too))
    lines = _lines(arrays, columns)
    if names is not None:
        lines = ([name, *line] for name, line in zip([title, *names], lines, strict=True))
    atomic_write(folder / "posterior.csv", lambda file: write_lines(file, lines))
    return folder / "posterior.csv"


def write_draws(folder: Path, row: np.ndarray, **draws: np.ndarray) -> None:
    """Write draws.npz: the rows, and draws of each by their names, rows and draws leading."""
    atomic_write(folder / DRAWS, npz({"row": row, **draws}))


def write_imputed(
    folder: Path, posterior: Posterior, names: Sequence[str] | None, columns: Sequence[str] | None
) -> int:
    """Write imputed.csv, a line for each missing entry, and filled.csv, the rows without gaps.

    Args:
        folder: where to.
        posterior: the rows, with what was imputed.
        names: of the rows.
        columns: what those of x are called; None: their numbers.

    Returns:
        The number of missing entries.
    """
    filled, low, high = (posterior.more[f"imputed{end}"] for end in ("", "_low", "_high"))
    columns = columns or [str(number) for number in range(filled.shape[1])]
    head = ["row"] if names is None else ["name", "row"]
    of_row = [[str(row)] for row in posterior.row.tolist()]
    if names is not None:
        of_row = [[name, *row] for name, row in zip(names, of_row, strict=True)]
    missing = ~np.isnan(low)
    lines = [
        [*of_row[row], columns[place], *(_digits(part[row, place]) for part in (filled, low, high))]
        for row, place in np.argwhere(missing).tolist()
    ]
    text = lines_of([[*head, "column", "mean", "low", "high"], *lines])
    atomic_write(folder / IMPUTED, text.encode())
    # What was seen stands there with all its digits.
    rows = [
        [*of, *(_digits(one) if gap else repr(float(one)) for one, gap in zip(*row, strict=True))]
        for of, *row in zip(of_row, filled, missing, strict=True)
    ]
    atomic_write(folder / FILLED, lines_of([[*head, *columns], *rows]).encode())
    return int(missing.sum())


def write_held_out(
    folder: Path, columns: Sequence[str] | None, numbers: Mapping[str, np.ndarray]
) -> None:
    """Write held_out.csv: a line for each column of x, by the names of what was found of it."""
    size = len(next(iter(numbers.values())))
    columns = columns or [str(number) for number in range(size)]
    parts = zip(*numbers.values(), strict=True)
    lines = [[name, *map(_digits, part)] for name, part in zip(columns, parts, strict=True)]
    atomic_write(folder / HELD_OUT, lines_of([["column", *numbers], *lines]).encode())


def records(posterior: Posterior) -> list[dict[str, object]]:
    """Return one record per row, as JSON has it: an array where there are several numbers."""
    arrays = _by_name(posterior)
    order = _order(arrays)
    return [
        {name: arrays[name][place].tolist() for name in order}
        for place in range(len(posterior.row))
    ]


def read(folder: Path) -> Posterior:
    """Return what `write` wrote.

    Raises:
        ConfigError: there is no posterior.npz with all its arrays.
    """
    found = Files(folder).arrays(FILE)
    needed = [name for name in Posterior._fields if name not in Posterior._field_defaults]
    if missing := [name for name in needed if name not in found]:
        raise ConfigError(f"{folder}/{FILE} has no {missing[0]}. `avi infer run=<run>` writes it.")
    known = {name: found.pop(name) for name in Posterior._fields if name in found}
    words = {
        name: unpacked(known.pop(name)) or ("",) * len(known["row"])
        for name in WORDS
        if name in known
    }
    return Posterior(**known, **words, more=found)  # type: ignore[arg-type]


def _by_name(posterior: Posterior) -> dict[str, np.ndarray]:
    """Return what there is of each row, by the names of the files."""
    fields = posterior._asdict()
    more = fields.pop("more")
    return {name: np.asarray(a) for name, a in {**fields, **more}.items() if a is not None}


def _order(arrays: Mapping[str, np.ndarray]) -> list[str]:
    order = [*(name for name in ORDER if name in arrays), *arrays]
    return [name for name in dict.fromkeys(order) if name != "lam"] + ["lam"]


def _lines(
    arrays: Mapping[str, np.ndarray], columns: Mapping[str, Sequence[str]]
) -> Iterator[list[str]]:
    """Yield the header and the rows: what is said of each, then its numbers, lam at last."""
    order = _order(arrays)
    flat = {name: arrays[name].reshape(len(arrays[name]), -1) for name in order}
    yield [
        f"{name}_{column}" if arrays[name].ndim > 1 else name
        for name in order
        for column in columns.get(name, range(flat[name].shape[1]))
    ]
    for row in zip(*flat.values(), strict=True):
        yield [_digits(value) for part in row for value in part]


def _digits(value: np.generic) -> str:
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, np.integer):
        return str(int(value))
    return "" if np.isnan(value) else f"{value:.9g}"
