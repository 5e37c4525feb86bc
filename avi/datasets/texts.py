"""Texts as documents, from a folder or from one file, by scikit-learn's vectoriser."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from avi.datasets.columns import listed
from avi.datasets.documents import Bags, join
from avi.datasets.formats import byte_limit, data_errors, read_file
from avi.errors import ConfigError, DataError
from avi.process.grammar import many

FIELD = "text"  # what people call it


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

    def read(self, path: Path, known: tuple[str, ...] | None = None, field: str = FIELD) -> Bags:
        """Return the documents of a folder or of a file, in their order.

        Terms behind those that are `known` follow them, and a document may then be empty.

        Raises:
            DataError: there are none, one is not text, or one has no term of the vocabulary.
        """
        found = _texts(path, field)
        try:
            bags = self.bags(found.documents, known, found.names)
        except ValueError as error:  # no term is left
            raise DataError(f"{path}: {error}") from error
        if known is None and not bags.lengths.all():
            raise DataError(
                f"{found.place(int(np.argmin(bags.lengths)))}: no term of the vocabulary is in it, "
                "the document is empty. Leave it out, or lower dataset.vectorizer.min_documents."
            )
        return bags

    def bags(
        self,
        documents: Sequence[str],
        known: tuple[str, ...] | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Bags:
        """Return what texts hold, some of them perhaps nothing; ValueError if no term is left."""
        from sklearn.feature_extraction.text import CountVectorizer

        counter = CountVectorizer(
            min_df=1 if known else self.min_documents,
            max_df=1.0 if known else self.max_share,
            stop_words=self.stop_words,
        )
        matrix = counter.fit_transform(documents)
        lengths = np.diff(matrix.indptr)
        vocabulary = tuple(map(str, counter.get_feature_names_out()))
        if known is None:
            return join([matrix.indices], [matrix.data], lengths, vocabulary, names)
        place = {term: number for number, term in enumerate(known)}
        ids = np.array([place.setdefault(term, len(place)) for term in vocabulary])
        return join([ids[matrix.indices]], [matrix.data], lengths, tuple(place), names)


class Texts(NamedTuple):
    """Documents as text, and what they are called."""

    source: Path
    documents: Sequence[str]
    names: tuple[str, ...] | None = None  # of files in a folder
    lines: Sequence[int] = ()  # of a file: where each document begins, counted from 1

    def place(self, number: int) -> str:
        """Return where a person finds a document."""
        if self.names is not None:
            return str(self.source / self.names[number])
        return f"{self.source}, line {self.lines[number]}"


def _texts(path: Path, field: str) -> Texts:
    """Return the documents of a folder of .txt, or of a .txt, .jsonl, .csv or .tsv file."""
    if path.is_dir():
        paths = sorted(path.glob("*.txt"))
        if not paths:
            raise DataError(f"{path} holds no file that ends in .txt.")
        return Texts(path, [_text(one) for one in paths], tuple(one.name for one in paths))
    found = {".txt": _of_lines, ".jsonl": _of_json, ".csv": _of_table, ".tsv": _of_table}
    if path.suffix not in found:
        raise ConfigError(
            f"{path}: expected a folder of .txt files, or a file that ends in {', '.join(found)}."
        )
    with data_errors(str(path)):
        lines = list(found[path.suffix](path, field))
    if not lines:
        raise DataError(f"{path} holds no documents.")
    return Texts(path, [text for _, text in lines], None, [line for line, _ in lines])


def _of_lines(path: Path, field: str) -> Iterator[tuple[int, str]]:
    del field
    lines = enumerate(_text(path).splitlines(), start=1)
    yield from ((line, text) for line, text in lines if text.strip())


def _of_json(path: Path, field: str) -> Iterator[tuple[int, str]]:
    """Yield the text of every line: a string, or a field of an object."""
    for line, words in enumerate(_text(path).splitlines(), start=1):
        if not words.strip():
            continue
        try:
            node = json.loads(words)
        except ValueError as error:
            raise DataError(f"{path}, line {line}: not JSON ({error}).") from error
        text = node.get(field) if isinstance(node, dict) else node
        if not isinstance(text, str):
            known = f"; it has {listed(list(node))}" if isinstance(node, dict) else ""
            raise DataError(
                f"{path}, line {line}: expected an object with the text in {field!r}{known}. Try "
                "dataset.text=<field>."
            )
        yield line, text


def _of_table(path: Path, field: str) -> Iterator[tuple[int, str]]:
    """Yield the cells of one column of a text with a header."""
    comma = "\t" if path.suffix == ".tsv" else ","
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=comma)
    header = next(reader, [])
    if field not in header:
        raise DataError(
            f"{path}, line 1: there is no column {field!r}; it has {listed(header) or 'none'}. Try "
            "dataset.text=<column>."
        )
    place, line = header.index(field), reader.line_num + 1
    for cells in reader:
        if cells and len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: found {many(len(cells), 'cell')}; the header has "
                f"{len(header)}."
            )
        if cells:
            yield line, cells[place]
        line = reader.line_num + 1


def _text(path: Path) -> str:
    content = read_file(path, byte_limit())
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not text in UTF-8.") from error
