"""The user's own data: a file or folder with one row per observation."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from avi.datasets.base import Sizes, cut, fixed, permutation, sizes_of
from avi.datasets.binarize import Binarize, Pixels, idle, pixels
from avi.datasets.cells import Dress
from avi.datasets.columns import Columns, Name, Reading
from avi.datasets.formats import kind_of
from avi.datasets.suspicions import suspicions
from avi.datasets.tables import (
    HOLDERS,
    TEXTS,
    Missing,
    Table,
    masked,
    read_again,
    read_table,
)
from avi.errors import DataError
from avi.mapped import Mapped, Rows, chosen, converted, in_file_order, largest, ordered, total
from avi.process.grammar import many
from avi.settings import SPLITS
from avi.types import Dataset, Decimal, Origin, Scale, Separator, Splits, Support, X

ROUNDING = 1e-9  # relative: a deviation below it is that of a constant


@dataclass(frozen=True)
class File:
    """Rows of numbers, checked against their support before anything is compiled."""

    path: str | None
    array: str | None  # the name of one array of several, or of a layer
    header: bool | None  # of a text; None: as the first line looks beside the others
    support: Literal["real", "positive", "unit", "binary", "count"]  # of x
    white: int  # the value of a white pixel, for support unit and for what is binarised
    # mask: x = {"mask", "value"}, for models that leave entries out; numbers: so are these
    missing: Missing | tuple[float, ...]
    binarize: Binarize  # from grey values 0..white to bits
    binarize_seed: int
    image_shape: tuple[int, ...] | None  # how figures draw a row
    valid_fraction: float
    test_fraction: float
    shuffle: bool  # False: three blocks in the order of the file
    split_seed: int
    separator: Separator | None = None  # of a text; None: what splits its lines into numbers
    decimal: Decimal | None = None
    columns: Columns = "all"  # of x; None: all that neither count nor name the rows
    drop: tuple[Name, ...] = ()
    label: Name | None = None  # the column of class labels, for figures
    index: Name | None = None  # the column of the rows' names
    standardize: Literal["columns", "none"] = "none"  # what models and encoders of real x see

    def __post_init__(self) -> None:
        if self.path is None:
            raise ValueError("which file? Say dataset.path=<rows.csv, .npy or another>.")
        if self.binarize != "none" and self.support != "binary":
            raise ValueError(
                f"binarize={self.binarize} makes bits of grey values: add dataset.support=binary, "
                "or say dataset.binarize=none."
            )
        if self.masks and self._is_grey:
            raise ValueError(
                "missing=mask is for measurements, not for grey values: add dataset.support=real "
                "dataset.binarize=none, or say dataset.missing=refuse."
            )
        if self.white < 1:
            raise ValueError(f"white must be 1 or more; got {self.white}.")
        for name in ("valid_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1; got {getattr(self, name)}.")
        _ = self._pixels

    @property
    def _is_grey(self) -> bool:
        return self.binarize != "none" or self.support == "unit"

    @property
    def _pixels(self) -> Pixels:
        return pixels(self.binarize, self.white if self._is_grey else 1, self.binarize_seed)

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        found = idle(self.binarize)
        ending = kind_of(Path(str(self.path)))
        if ending not in HOLDERS:
            found["array"] = f"only {', '.join(HOLDERS)} hold arrays by name."
        if ending not in TEXTS:
            found["header"] = "only a text has a line of names."
            found["separator"] = found["decimal"] = "only a text is written with it."
        if not self._scales:
            found["standardize"] = "only measurements, dataset.support=real, are standardised."
        if not self._is_grey:
            found["white"] = "it is for grey values: dataset.support=unit, or dataset.binarize."
        if not self.shuffle:
            found["split_seed"] = "nothing is shuffled under dataset.shuffle=false."
        return found

    @property
    def masks(self) -> bool:
        """Whether x says which of its entries were seen."""
        return self.missing != "refuse"

    @property
    def reading(self) -> Reading:
        """How the file is to be read."""
        return Reading(
            self.array,
            Dress(self.header, self.separator, self.decimal),
            self.missing if isinstance(self.missing, tuple) else (),
            self.columns,
            self.drop,
            self.label,
            self.index,
        )

    @property
    def _scales(self) -> bool:
        return self.support == "real" and not self._is_grey

    @property
    def redraws(self) -> bool:
        """Whether x is drawn anew at every visit."""
        return self._pixels.redraws

    def load(self) -> Splits:
        """Return the splits of the file's rows."""
        table = self._checked(read_table(Path(str(self.path)).expanduser(), self.reading))
        number = len(table.rows)
        sizes = self._sizes(number, table.source)
        order = permutation(number, self.split_seed) if self.shuffle else np.arange(number)
        rows = ordered(table.rows, order)
        train, valid, test = cut(self._stored(rows), sizes)
        single = jnp.result_type(float) == np.float32
        labels = None
        if table.labels is not None:
            labels = dict(zip(SPLITS, cut(table.labels[order], sizes), strict=True))
        scaled = self._scales and self.standardize == "columns"
        return Splits(
            train,
            valid,
            test,
            labels,
            origin=Origin(order, table.columns, table.row_names, table.layout),
            remarks=suspicions(table, self.support, single=single),
            understood=table.understood,
            scale=_scale(in_file_order(chosen(rows, slice(sizes[0])))) if scaled else None,
        )

    def table_of(self, path: Path, origin: Origin) -> Table:
        """Return the table of another file of the same form, in the columns of training.

        Raises:
            ConfigError, DataError: the file is missing, malformed, or of other columns.
        """
        array = self.array if path.suffix in HOLDERS or str(path) == self.path else None
        reading = replace(self.reading, array=array)
        return read_again(path, reading, origin.layout, origin.columns)

    def rows_of(self, table: Table) -> Rows:
        """Return the rows of such a table as stored for `view`; DataError if they must not be x."""
        return self._stored(self._checked(table).rows)

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> X:
        """Return x of a stored row."""
        if self.masks:
            pairs = jnp.asarray(row, float)
            return {"mask": pairs[:, 0], "value": pairs[:, 1]}
        return self._pixels.view(row, index, visit)

    def fixed(self) -> Dataset:
        """Return the view of reports."""
        return fixed(self)

    def _stored(self, rows: Rows) -> Rows:
        if isinstance(rows, Mapped):
            return rows.converted(self._as_stored)
        return self._as_stored(rows, np.arange(len(rows)))

    def _as_stored(self, rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return masked(rows) if self.masks else self._pixels.store(_compact(rows, self.support), ids)

    def _checked(self, table: Table) -> Table:
        if self._is_grey:
            table.require_finite()
            if self.white > 1 and largest(table.rows) <= 1:
                raise DataError(
                    f"{table.source}: no value is above 1, so dataset.white={self.white} would "
                    "make all of them black. Say dataset.white=1."
                )
            scaled = converted(table.rows, lambda block: block / self.white)
            source = f"{table.source} (divided by dataset.white={self.white})"
            replace(table, rows=scaled, source=source).require("unit")
        else:
            (table.without_missing() if self.masks else table).require(self.support)
        size = table.rows.shape[1]
        if self.image_shape is not None and math.prod(self.image_shape) != size:
            raise DataError(
                f"{table.source}: rows of {many(size, 'number')} are not images of shape "
                f"{list(self.image_shape)}. Change dataset.image_shape, or say "
                "dataset.image_shape=null."
            )
        return table

    def _sizes(self, num_rows: int, source: str) -> Sizes:
        if num_rows < 3:
            raise DataError(f"{source}: expected at least 3 rows, one per split; found {num_rows}.")
        num_valid, num_test = (
            max(1, int(num_rows * fraction))
            for fraction in (self.valid_fraction, self.test_fraction)
        )
        return sizes_of(num_rows, num_valid, num_test)


def _scale(rows: Rows) -> Scale:
    """Return the scale of training rows, of what is there in each column.

    Its numbers are of single precision: both precisions standardise by the same.
    """

    def of_seen(block: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(block), values, 0)

    number = np.maximum(total(rows, lambda block: np.isfinite(block).sum(axis=0)), 1)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean = total(rows, lambda b: of_seen(b, b).sum(axis=0, dtype=np.float64)) / number
        squares = total(rows, lambda b: (of_seen(b, b - mean) ** 2).sum(axis=0, dtype=np.float64))
        square = squares / number
        mean, deviation = (part.astype(np.float32) for part in (mean, np.sqrt(square)))
    # What rounding leaves of a column that does not vary is no scale.
    varies = np.isfinite(deviation) & (deviation > ROUNDING * np.abs(mean))
    centre = np.where(np.isfinite(mean), mean, 0).astype(np.float64)
    return Scale(centre, np.where(varies, deviation, 1).astype(np.float64))


def _compact(rows: np.ndarray, support: Support) -> np.ndarray:
    """Return rows in a dtype that jax has and that loses nothing."""
    if support == "count":
        return rows.astype(np.int32)
    if rows.dtype.kind in "bu" and rows.dtype.itemsize == 1:
        return rows.astype(np.uint8)
    if rows.dtype.kind == "f" and rows.dtype.itemsize in (4, 8):
        return rows
    return rows.astype(np.float64)
