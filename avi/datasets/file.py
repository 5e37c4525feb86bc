"""The user's own data: an .npz, .npy or .csv file with one row per observation."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from avi.datasets.base import Sizes, cut, fixed, permutation, sizes_of
from avi.datasets.binarize import Binarize, Pixels, idle, pixels
from avi.datasets.suspicions import suspicions
from avi.datasets.tables import Missing, Table, masked, read_table
from avi.errors import DataError
from avi.types import Dataset, Origin, Splits, Support, X


@dataclass(frozen=True)
class File:
    """Rows of numbers, checked against their support before anything is compiled."""

    path: str | None
    array: str | None  # the name of one array in an .npz with several
    header: bool | None  # of a .csv; None: a first line without numbers is one
    support: Literal["real", "positive", "unit", "binary", "count"]  # of x
    white: int  # the value of a white pixel, for support unit and for what is binarised
    missing: Missing  # mask: x = {"mask", "value"}, for models that leave entries out
    binarize: Binarize  # from grey values 0..white to bits
    binarize_seed: int
    image_shape: tuple[int, ...] | None  # how figures draw a row
    valid_fraction: float
    test_fraction: float
    shuffle: bool  # False: three blocks in the order of the file
    split_seed: int

    def __post_init__(self) -> None:
        if self.path is None:
            raise ValueError("which file? Say dataset.path=<rows.npz, rows.npy or rows.csv>.")
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
        ending = Path(str(self.path)).suffix
        if ending != ".npz":
            found["array"] = "only an .npz holds arrays by name."
        if ending != ".csv":
            found["header"] = "only a .csv has a line of names."
        if not self._is_grey:
            found["white"] = "it is for grey values: dataset.support=unit, or dataset.binarize."
        if not self.shuffle:
            found["split_seed"] = "nothing is shuffled under dataset.shuffle=false."
        return found

    @property
    def masks(self) -> bool:
        """Whether x says which of its entries were seen."""
        return self.missing == "mask"

    @property
    def redraws(self) -> bool:
        """Whether x is drawn anew at every visit."""
        return self._pixels.redraws

    def load(self) -> Splits:
        """Return the splits of the file's rows."""
        table = self._table(Path(str(self.path)).expanduser())
        number = len(table.rows)
        sizes = self._sizes(number, table.source)
        order = permutation(number, self.split_seed) if self.shuffle else np.arange(number)
        train, valid, test = cut(self._stored(table.rows[order]), sizes)
        single = jnp.result_type(float) == np.float32
        remarks = suspicions(table, self.support, single=single)
        return Splits(train, valid, test, origin=Origin(order, table.columns), remarks=remarks)

    def rows_of(self, path: Path, columns: tuple[str, ...] | None = None) -> np.ndarray:
        """Return the rows of another file of the same form, as stored for `view`.

        Its columns are put into the order of `columns`, where both have names.

        Raises:
            ConfigError, DataError: the file is missing, malformed, or holds what it must not.
        """
        return self._stored(self._table(path).ordered(columns).rows)

    def view(self, row: Array, index: Int[Array, ""], visit: Int[Array, ""]) -> X:
        """Return x of a stored row."""
        if self.masks:
            pairs = jnp.asarray(row, float)
            return {"mask": pairs[:, 0], "value": pairs[:, 1]}
        return self._pixels.view(row, index, visit)

    def fixed(self) -> Dataset:
        """Return the view of reports."""
        return fixed(self)

    def _table(self, path: Path) -> Table:
        array = self.array if path.suffix == ".npz" or str(path) == self.path else None
        return self._checked(read_table(path, array, self.header))

    def _stored(self, rows: np.ndarray) -> np.ndarray:
        if self.masks:
            return masked(rows)
        return self._pixels.store(_compact(rows, self.support), first_id=0)

    def _checked(self, table: Table) -> Table:
        if self._is_grey:
            table.require_finite()
            if self.white > 1 and table.rows.max() <= 1:
                raise DataError(
                    f"{table.source}: no value is above 1, so dataset.white={self.white} would "
                    "make all of them black. Say dataset.white=1."
                )
            scaled = table.rows / self.white
            source = f"{table.source} (divided by dataset.white={self.white})"
            replace(table, rows=scaled, source=source).require("unit")
        else:
            (table.without_missing() if self.masks else table).require(self.support)
        size = table.rows.shape[1]
        if self.image_shape is not None and math.prod(self.image_shape) != size:
            raise DataError(
                f"{table.source}: rows of {size} numbers are not images of shape "
                f"{list(self.image_shape)}. Change dataset.image_shape, or say null."
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


def _compact(rows: np.ndarray, support: Support) -> np.ndarray:
    """Return rows in a dtype that jax has and that loses nothing."""
    if support == "count":
        return rows.astype(np.int32)
    if rows.dtype.kind in "bu" and rows.dtype.itemsize == 1:
        return rows.astype(np.uint8)
    if rows.dtype.kind == "f" and rows.dtype.itemsize in (4, 8):
        return rows
    return rows.astype(np.float64)
