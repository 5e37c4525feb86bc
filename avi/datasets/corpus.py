"""The user's own documents: counts in a file of one of the usual formats, or texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Array, Int

from avi.datasets.base import permutation
from avi.datasets.documents import Bags, CountFormat, read_counts, read_vocabulary, splits
from avi.datasets.formats import byte_limit, read_file
from avi.datasets.texts import FIELD, Vectorizer
from avi.errors import ConfigError, DataError
from avi.process.grammar import many, verb
from avi.ragged import Document
from avi.types import Dataset, Splits, Support


@dataclass(frozen=True)
class Corpus:
    """Documents in random order, stored as what they hold: memory goes with the non-zero counts."""

    path: str | None
    format: CountFormat | Literal["text"]
    vocabulary: str | None  # a file with one term on each line; None: terms are named by their ids
    first_id: Literal[0, 1]  # of the first term, in lda-c and svmlight files
    vectorizer: Vectorizer  # for texts
    valid_fraction: float
    test_fraction: float
    split_seed: int
    text: str = FIELD  # of a .jsonl or a table of texts: the field or column that holds them

    support: ClassVar[Support] = "terms"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.path is None:
            raise ValueError(
                "which documents? Say dataset.path=<file>, or texts with dataset.format=text."
            )
        if self.format == "text" and self.vocabulary is not None:
            raise ValueError("the vocabulary of texts is found in them: leave out vocabulary.")
        for name in ("valid_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 0.5:
                raise ValueError(f"{name} must lie between 0 and 0.5; got {getattr(self, name)}.")

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        found = {}
        if self.format != "text":
            found["vectorizer"] = found["text"] = "it is for texts: dataset.format=text."
        if self.format not in ("lda-c", "svmlight"):
            found["first_id"] = "it is for dataset.format=lda-c and svmlight."
        return found

    def load(self) -> Splits:
        """Return the splits."""
        bags = self._read(Path(str(self.path)).expanduser())
        number = len(bags)
        num_valid, num_test = (
            max(1, round(number * share)) for share in (self.valid_fraction, self.test_fraction)
        )
        num_train = number - num_valid - num_test
        if num_train < 1:
            raise DataError(
                f"{self.path}: {many(number, 'document')} "
                f"{verb(number, 'are')} too few to split in three."
            )
        order = permutation(number, self.split_seed)
        found = splits(bags, order, (num_train, num_valid, num_test))
        return found._replace(remarks=self._remarks(bags))

    def _remarks(self, bags: Bags) -> tuple[str, ...]:
        counts_from_0 = self.format in ("lda-c", "svmlight") and self.first_id == 0
        if not counts_from_0 or bags.terms()[0]:
            return ()
        return (
            "No document has the term of id 0. If the ids of this file count from 1, every term is "
            "called by the name of the next one: say dataset.first_id=1.",
        )

    def documents_of(self, path: Path, vocabulary: tuple[str, ...]) -> Bags:
        """Return other documents of the same form; terms behind `vocabulary` are not of it.

        Raises:
            ConfigError, DataError: they are missing or malformed.
        """
        return self._read(path, vocabulary)

    def _read(self, path: Path, known: tuple[str, ...] | None = None) -> Bags:
        if self.format == "text":
            if not path.exists():
                raise ConfigError(f"{path}: there is no such file or folder of texts.")
            return self.vectorizer.read(path, known, self.text)
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file of documents (dataset.path).")
        content = read_file(path, byte_limit())
        vocabulary = known or self._named_terms()
        return read_counts(
            content, str(path), self.format, vocabulary, self.first_id, fixed=known is None
        )

    def _named_terms(self) -> tuple[str, ...] | None:
        if self.vocabulary is None:
            return None
        path = Path(self.vocabulary).expanduser()
        if not path.is_file():
            raise ConfigError(f"dataset.vocabulary={path}: there is no such file.")
        return read_vocabulary(path)

    def view(self, row: Document, index: Int[Array, ""], visit: Int[Array, ""]) -> Document:
        """Return ids and counts as numbers to compute with."""
        del index, visit
        return row.unpacked()

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self
