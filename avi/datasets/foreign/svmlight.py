"""svmlight, or LIBSVM, by scikit-learn: `label id:value id:value ...`, zeros left out."""

import io
from pathlib import Path

import numpy as np

from avi.datasets.columns import Raw, Reading
from avi.datasets.foreign import dense, require_room
from avi.datasets.formats import read_unpacked

EXTRA = "scikit-learn"


def read(path: Path, reading: Reading, limit: int) -> Raw:
    """Return one column per id, called by it; from 0 where id 0 occurs, else from 1.

    New rows have the columns of training too, where these are 0 throughout.
    """
    from sklearn.datasets import load_svmlight_file

    content = read_unpacked(path, limit)
    matrix, targets = load_svmlight_file(io.BytesIO(content), zero_based=True)
    if not len(targets):
        raise ValueError("it holds no rows")
    known = [int(name) for name in reading.known if name.isdecimal()]
    first = 0 if 0 in known or (matrix.indices == 0).any() else 1
    last = max(matrix.shape[1] - 1, *known, 0)
    if last < first:
        raise ValueError("it holds no id:value")
    require_room((len(targets), last + 1), limit)
    matrix.resize((len(targets), last + 1))
    classes = bool(np.isfinite(targets).all() and (targets == np.floor(targets)).all())
    targets_are = "classes" if classes else "no classes: not used"
    dress = (f"svmlight, ids {first} to {last}", f"what stands before them are {targets_are}")
    return Raw(
        dense(matrix[:, first:], limit),
        str(path),
        tuple(map(str, range(first, last + 1))),
        dress=dress,
        labels=targets.astype(np.int64) if classes else None,
    )
