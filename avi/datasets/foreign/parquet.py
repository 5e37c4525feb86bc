"""Parquet, by pyarrow."""

from pathlib import Path
from typing import Any

import numpy as np

from avi.datasets.cells import Column
from avi.datasets.columns import Raw, Reading, column_of
from avi.datasets.foreign import require_room
from avi.errors import DataError

EXTRA = "parquet"


def read(path: Path, reading: Reading, limit: int) -> Raw:
    """Return the columns of a parquet file; nested ones are refused."""
    import pyarrow.parquet

    del reading
    file = pyarrow.parquet.ParquetFile(path)
    require_room((file.metadata.num_rows, file.metadata.num_columns), limit)
    schema = file.schema_arrow
    nested = [field.name for field in schema if pyarrow.types.is_nested(field.type)]
    if nested:
        raise DataError(
            f"{path}: column {nested[0]!r} holds {schema.field(nested[0]).type}, not one value a "
            f"row. Write it as columns of numbers, or without it."
        )
    table = file.read()
    if not (table.num_rows and table.num_columns):
        raise ValueError("it holds no rows")
    columns = [_column(one) for one in table.columns]
    rows = np.stack([one.values for one in columns], axis=1)
    return Raw(rows, str(path), tuple(table.column_names), None, tuple(columns), ("parquet",))


def _column(chunks: Any) -> Column:
    import pyarrow

    kind = chunks.type
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind):
        return column_of(chunks.cast(pyarrow.float64(), safe=False).to_numpy())
    if pyarrow.types.is_decimal(kind):
        return column_of(chunks.cast(pyarrow.float64()).to_numpy())
    return column_of(chunks.to_pylist())
