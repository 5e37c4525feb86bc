"""A folder of text files as documents, by scikit-learn's vectoriser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from avi.datasets.documents import Bags, join
from avi.datasets.formats import byte_limit, read_file
from avi.errors import DataError


@dataclass(frozen=True)
class Vectorizer:
    """From text to counts of words of two letters or more, in lower case."""

    min_documents: int  # a term is in so many documents or more
    max_share: float  # and in at most this share of them
    stop_words: Literal["english"] | None  # words that are left out

    def __post_init__(self) -> None:
        if self.min_documents < 1:
            raise ValueError(f"min_documents must be 1 or more; got {self.min_documents}.")
        if not 0 < self.max_share <= 1:
            raise ValueError(f"max_share must be in (0, 1]; got {self.max_share}.")

    def read(self, folder: Path, known: tuple[str, ...] | None = None) -> Bags:
        """Return the .txt files of a folder, in the order of their names.

        Terms behind those that are `known` follow them, and a document may then be empty.

        Raises:
            DataError: there are none, one is not text, or one has no term of the vocabulary.
        """
        from sklearn.feature_extraction.text import CountVectorizer

        paths = sorted(folder.glob("*.txt"))
        if not paths:
            raise DataError(f"{folder} holds no file that ends in .txt.")
        counter = CountVectorizer(
            min_df=1 if known else self.min_documents,
            max_df=1.0 if known else self.max_share,
            stop_words=self.stop_words,
        )
        try:
            matrix = counter.fit_transform(_text(path) for path in paths)
        except ValueError as error:  # no term is left
            raise DataError(f"{folder}: {error}") from error
        lengths = np.diff(matrix.indptr)
        if known is None and not lengths.all():
            raise DataError(
                f"{paths[int(np.argmin(lengths))]}: no term of the vocabulary is in it, the "
                "document is empty. Leave it out, or lower dataset.vectorizer.min_documents."
            )
        vocabulary = tuple(map(str, counter.get_feature_names_out()))
        names = tuple(path.name for path in paths)
        if known is None:
            return join([matrix.indices], [matrix.data], lengths, vocabulary, names)
        place = {term: number for number, term in enumerate(known)}
        ids = np.array([place.setdefault(term, len(place)) for term in vocabulary])
        return join([ids[matrix.indices]], [matrix.data], lengths, tuple(place), names)


def _text(path: Path) -> str:
    content = read_file(path, byte_limit())
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not text in UTF-8.") from error
