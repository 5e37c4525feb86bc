"""What rows of a run look like, kept with it: new observations need no training file."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from avi.mapped import Mapped, Rows
from avi.ragged import Document, Ragged
from avi.results import form
from avi.results.form import Form
from avi.results.store import Files, packed, unpacked
from avi.types import Decimal, Layout, Origin, Scale, Separator, Splits


def keep(folder: Path, splits: Splits) -> None:
    """Write the form of these rows, where they are plain or documents."""
    train = splits.train
    if isinstance(train, np.ndarray | Mapped):
        form.write(folder, _of_rows(splits, train))
    elif isinstance(train, Document) and splits.vocabulary is not None:
        ids: Any = train.ids
        terms = np.unique(ids.values[ids.positions()])
        form.write(folder, Form(terms=terms, vocabulary=packed(splits.vocabulary)))


def kept(folder: Path, columns: tuple[str, ...] | None) -> Splits | None:
    """Return splits of one row each that look like those of a run, None where nothing tells."""
    found = form.read(Files(folder))
    if not found.known:
        return None
    if found.row is not None:
        rows = found.row[None]
        scale = None
        if found.mean is not None and found.deviation is not None:
            scale = Scale(found.mean, found.deviation)
        splits = Splits(rows, rows, rows, origin=Origin(layout=_layout(found)), scale=scale)
    else:
        names = unpacked(found.vocabulary)
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


def _of_rows(splits: Splits, train: Rows) -> Form:
    scale, layout = splits.scale, splits.origin.layout
    found = Form(
        row=np.zeros_like(train[0]),
        mean=None if scale is None else scale.mean,
        deviation=None if scale is None else scale.deviation,
    )
    if layout is None:
        return found
    words = [word for word in (layout.separator, layout.decimal) if word is not None]
    return replace(
        found,
        kept=layout.kept,
        left_out=packed(layout.left_out),
        written=packed(words),
    )


def _layout(found: Form) -> Layout | None:
    if found.kept is None or found.kept.dtype != bool or found.kept.ndim != 1:
        return None
    words = unpacked(found.written)
    known = len(words) == 2 and words[0] in get_args(Separator) and words[1] in get_args(Decimal)
    written: Any = words if known else (None, None)
    return Layout(found.kept, unpacked(found.left_out), *written)


def _of_terms(terms: np.ndarray, num_terms: int) -> Document:
    """Return one document that holds every term of training once."""
    starts, lengths = np.zeros(1, np.int64), np.array([len(terms)], np.int32)
    ids, counts = (
        Ragged(part, starts, lengths, max(1, len(terms))) for part in (terms, np.ones_like(terms))
    )
    return Document(ids, counts, num_terms)
