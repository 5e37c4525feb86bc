"""Documents as rows of different lengths, from the formats that people keep counts in.

Whatever breaks the contract (term ids of the vocabulary, positive whole counts, no empty document)
is a DataError that names the line.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from avi.datasets.contract import LARGEST_COUNT
from avi.datasets.formats import byte_limit, read_file
from avi.errors import DataError
from avi.process.grammar import many
from avi.ragged import Document, Ragged
from avi.types import Origin, Splits

CountFormat = Literal["lda-c", "svmlight", "matrix-market"]
PAIR = re.compile(r"(-?\d{1,18}):(\S+)")


class Bag(NamedTuple):
    """One document as read: where it stands, its term ids (from 0) and their counts."""

    line: int
    ids: list[int]
    counts: list[str]


@dataclass(frozen=True)
class Bags:
    """Documents end to end."""

    ids: np.ndarray  # [L]
    counts: np.ndarray  # [L]
    starts: np.ndarray  # [N]
    lengths: np.ndarray  # [N]
    vocabulary: tuple[str, ...]
    names: tuple[str, ...] | None = None  # of the documents

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.starts)

    def chosen(self, order: np.ndarray) -> "Bags":
        """Return documents in another order; what they hold stays where it is."""
        return replace(self, starts=self.starts[order], lengths=self.lengths[order])

    def terms(self) -> np.ndarray:
        """Return which terms occur, bool [V]."""
        occurs = np.zeros(len(self.vocabulary), bool)
        occurs[self.ids[self._positions()]] = True
        return occurs

    def without(self, unwanted: np.ndarray) -> "Bags":
        """Return the documents less the terms that are `unwanted`, bool [V]."""
        positions = self._positions()
        kept = ~unwanted[self.ids[positions]]
        document = np.repeat(np.arange(len(self)), self.lengths)
        lengths = np.bincount(document[kept], minlength=len(self))
        ids, counts = self.ids[positions][kept], self.counts[positions][kept]
        return replace(self, ids=ids, counts=counts, starts=_starts(lengths), lengths=lengths)

    def tokens(self) -> int:
        """Return the number of words in all documents."""
        return int(self.counts[self._positions()].sum(dtype=np.int64))

    def rows(self, width: int) -> Document:
        """Return the rows as stored, padded to `width` where they are read."""
        starts, lengths = self.starts, self.lengths.astype(np.int32)
        ids, counts = (Ragged(part, starts, lengths, width) for part in (self.ids, self.counts))
        return Document(ids, counts, num_terms=len(self.vocabulary))

    def _positions(self) -> np.ndarray:
        first = np.repeat(self.starts - _starts(self.lengths), self.lengths)
        return first + np.arange(self.lengths.sum())


def splits(bags: Bags, order: np.ndarray, sizes: tuple[int, int, int]) -> Splits:
    """Return train, valid and test of the documents in this order.

    Terms that never occur in training are left out of the others: no model can know them.
    """
    ends = np.cumsum(sizes)
    train, *others = (
        bags.chosen(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)
    )
    unseen = ~train.terms()
    valid, test = (part.without(unseen) for part in others)
    width = max(1, *(int(part.lengths.max(initial=0)) for part in (train, valid, test)))
    return Splits(
        train=train.rows(width),
        valid=valid.rows(width),
        test=test.rows(width),
        vocabulary=bags.vocabulary,
        origin=Origin(order, documents=bags.names),
        unseen={
            split: (whole.tokens() - kept.tokens(), whole.tokens())
            for split, whole, kept in zip(("valid", "test"), others, (valid, test), strict=True)
        },
    )


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Return the terms of a file with one on each line.

    Raises:
        DataError: a line is empty.
    """
    terms = _lines(read_file(path, byte_limit() // 8), str(path))
    for number, term in enumerate(terms, 1):
        if not term.strip():
            raise DataError(f"{path}, line {number}: expected a term, found an empty line.")
    return tuple(term.strip() for term in terms)


def read_counts(
    content: bytes,
    source: str,
    layout: CountFormat,
    vocabulary: tuple[str, ...] | None,
    first_id: int,
    *,
    fixed: bool = True,
) -> Bags:
    """Return the documents in `content`; without a vocabulary the terms are named by their ids.

    Unless the vocabulary is `fixed`, ids behind it are read too, as one more term without a name.

    Raises:
        DataError: a line breaks the format or the contract.
    """
    lines = _lines(content, source)
    if layout == "matrix-market":
        bags = _matrix_market(lines, source, vocabulary if fixed else None)
    else:
        parse = _lda_c if layout == "lda-c" else _svmlight
        bags = parse(lines, source, first_id)
    first_id = 1 if layout == "matrix-market" else first_id
    return _checked(bags, source, vocabulary, first_id, fixed)


def _lines(content: bytes, source: str) -> list[str]:
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{source}, line {line}: not text in UTF-8.") from error


def _lda_c(lines: list[str], source: str, first_id: int) -> Iterator[Bag]:
    """Yield `M id:count id:count ...`, M the number of pairs."""
    for number, line in enumerate(lines, 1):
        promised, *pairs = line.split() or [""]
        ids, counts = _pairs(pairs, source, number, first_id)
        if not promised.isdecimal() or len(promised) > 18 or int(promised) != len(ids):
            raise DataError(
                f"{source}, line {number}: expected `M id:count ...` with M pairs; found M = "
                f"{promised[:20] or 'nothing'!r} and {many(len(ids), 'pair')}. Other forms: "
                "dataset.format=svmlight, matrix-market or text."
            )
        yield Bag(number, ids, counts)


def _svmlight(lines: list[str], source: str, first_id: int) -> Iterator[Bag]:
    """Yield `label id:count ... # comment`; the label is not used."""
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words and line.strip():
            continue  # a line that is a comment
        label, *pairs = words or [""]
        if ":" in label:
            raise DataError(
                f"{source}, line {number}: expected `label id:count ...`, found {label[:40]!r} in "
                "place of the label. Any number will do: it is not used."
            )
        pairs = [pair for pair in pairs if not pair.startswith("qid:")]
        ids, counts = _pairs(pairs, source, number, first_id)
        present = [place for place, count in enumerate(counts) if not _is_zero(count)]
        yield Bag(number, [ids[p] for p in present], [counts[p] for p in present])


def _pairs(
    words: Iterable[str], source: str, number: int, first_id: int
) -> tuple[list[int], list[str]]:
    ids, counts = [], []
    for word in words:
        match = PAIR.fullmatch(word)
        if match is None:
            raise DataError(f"{source}, line {number}: expected id:count, found {word[:40]!r}.")
        ids.append(int(match[1]) - first_id)
        counts.append(match[2])
    return ids, counts


def _matrix_market(
    lines: list[str], source: str, vocabulary: tuple[str, ...] | None
) -> Iterator[Bag]:
    """Yield the rows of a `coordinate` matrix, documents down and terms across, ids from 1."""
    header = lines[0].lower().split() if lines else []
    if header[:3] != ["%%matrixmarket", "matrix", "coordinate"] or header[4:] != ["general"]:
        raise DataError(
            f"{source}, line 1: expected `%%MatrixMarket matrix coordinate integer general`."
        )
    body = ((n, line.split()) for n, line in enumerate(lines[1:], 2) if line.strip())
    entries = ((number, words) for number, words in body if not words[0].startswith("%"))
    number, words = next(entries, (len(lines), []))
    if len(words) != 3 or not all(word.isdecimal() and len(word) < 19 for word in words):
        raise DataError(f"{source}, line {number}: expected the size, `documents terms entries`.")
    num_documents, num_terms, promised = map(int, words)
    if vocabulary is not None and num_terms != len(vocabulary):
        raise DataError(
            f"{source}, line {number}: the matrix has {num_terms} terms, the vocabulary "
            f"{len(vocabulary)}."
        )
    found: dict[int, Bag] = {}
    taken = 0
    for number, words in entries:
        taken += 1
        if len(words) != 3 or not all(word.isdecimal() and len(word) < 19 for word in words[:2]):
            raise DataError(f"{source}, line {number}: expected `document term count`.")
        row = int(words[0])
        if not 1 <= row <= num_documents:
            raise DataError(
                f"{source}, line {number}: document {row} is not in 1..{num_documents}."
            )
        if not _is_zero(words[2]):
            bag = found.setdefault(row, Bag(number, [], []))
            bag.ids.append(int(words[1]) - 1)
            bag.counts.append(words[2])
    if taken != promised:
        raise DataError(f"{source}: its header promises {promised} entries; found {taken}.")
    for row in range(1, num_documents + 1):
        if row not in found:
            raise DataError(f"{source}: document {row} has no entries: it is empty.")
        yield found.pop(row)


def _checked(
    bags: Iterable[Bag],
    source: str,
    vocabulary: tuple[str, ...] | None,
    first_id: int,
    fixed: bool,
) -> Bags:
    known = len(vocabulary) if vocabulary is not None and fixed else np.iinfo(np.int32).max
    if vocabulary is not None and not fixed:
        vocabulary = (*vocabulary, "")
    ids, counts, lengths = [], [], []
    for bag in bags:
        where = f"{source}, line {bag.line}"
        if not bag.ids:
            raise DataError(f"{where}: the document is empty. Leave it out.")
        row = np.array(bag.ids)
        outside = (row < 0) | (row >= known)
        if outside.any():
            one = row[outside][0] + first_id
            raise DataError(
                f"{where}: term id {one} is below the first, {first_id}."
                if one < first_id
                else f"{where}: term id {one} is outside the vocabulary, whose ids are {first_id} "
                f"to {known - 1 + first_id}."
            )
        if len(set(bag.ids)) < len(bag.ids):
            raise DataError(f"{where}: a term id occurs twice.")
        # Beyond it all are the last one.
        last = known if vocabulary is None else len(vocabulary) - 1
        ids.append(np.minimum(row, last).astype(np.int32))
        counts.append(_whole(bag.counts, where))
        lengths.append(len(row))
    if not lengths:
        raise DataError(f"{source} holds no documents.")
    return join(ids, counts, np.array(lengths), vocabulary)


def join(
    ids: list[np.ndarray],
    counts: list[np.ndarray],
    lengths: np.ndarray,
    vocabulary: tuple[str, ...] | None,
    names: tuple[str, ...] | None = None,
) -> Bags:
    """Return documents end to end, in the smallest types that hold them."""
    flat, amounts = np.concatenate(ids), np.concatenate(counts)
    if vocabulary is None:
        vocabulary = tuple(f"term{number}" for number in range(int(flat.max()) + 1))
    flat = flat.astype(np.min_scalar_type(len(vocabulary)))
    amounts = amounts.astype(np.min_scalar_type(int(amounts.max())))
    return Bags(flat, amounts, _starts(lengths), lengths, vocabulary, names)


def _whole(words: list[str], where: str) -> np.ndarray:
    try:
        values = np.array(words, float)
    except ValueError:
        values = np.array([np.nan])
    wrong = ~((values >= 1) & (values <= LARGEST_COUNT) & (values == np.floor(values)))
    if wrong.any():
        word = words[int(np.argmax(wrong))] if len(values) == len(words) else " ".join(words)
        raise DataError(
            f"{where}: expected whole counts from 1 to {LARGEST_COUNT}, found {word[:40]}."
        )
    return values.astype(np.int64)


def _is_zero(word: str) -> bool:
    return word.strip("0.") == "" and "0" in word


def _starts(lengths: np.ndarray) -> np.ndarray:
    total = int(lengths.sum())
    kind = np.int32 if total < np.iinfo(np.int32).max else np.int64
    return (np.cumsum(lengths) - lengths).astype(kind)
