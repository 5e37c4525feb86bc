"""What rows of a run look like, kept with it: new observations need no training file."""

from pathlib import Path
from typing import Any

import numpy as np

from avi.ragged import Document, Ragged
from avi.results import form
from avi.results.form import Form
from avi.results.store import Files
from avi.types import Splits


def keep(folder: Path, splits: Splits) -> None:
    """Write the form of these rows, where they are plain or documents."""
    train = splits.train
    if isinstance(train, np.ndarray):
        form.write(folder, Form(row=np.zeros_like(train[0])))
    elif isinstance(train, Document) and splits.vocabulary is not None:
        ids: Any = train.ids
        terms = np.unique(ids.values[ids.positions()])
        lines = "\n".join(splits.vocabulary).encode()
        form.write(folder, Form(terms=terms, vocabulary=np.frombuffer(lines, np.uint8)))


def kept(folder: Path, columns: tuple[str, ...] | None) -> Splits | None:
    """Return splits of one row each that look like those of a run, None where nothing tells."""
    found = form.read(Files(folder))
    if not found.known:
        return None
    if found.row is not None:
        rows = found.row[None]
        splits = Splits(rows, rows, rows)
    else:
        names = tuple(np.asarray(found.vocabulary).tobytes().decode("utf-8", "replace").split("\n"))
        terms = np.asarray(found.terms)
        if (
            terms.dtype.kind not in "iu"
            or terms.ndim != 1
            or not np.isin(terms, range(len(names))).all()
        ):
            return None
        documents = _of_terms(terms, len(names))
        splits = Splits(documents, documents, documents, vocabulary=names)
    return splits._replace(origin=splits.origin._replace(columns=columns))


def _of_terms(terms: np.ndarray, num_terms: int) -> Document:
    """Return one document that holds every term of training once."""
    starts, lengths = np.zeros(1, np.int64), np.array([len(terms)], np.int32)
    ids, counts = (
        Ragged(part, starts, lengths, max(1, len(terms))) for part in (terms, np.ones_like(terms))
    )
    return Document(ids, counts, num_terms)
