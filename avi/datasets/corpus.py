"""The user's own documents: counts in a file of one of the usual formats, or a folder of texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Array, Int

from avi.datasets.base import permutation
from avi.datasets.documents import Bags, CountFormat, read_counts, read_vocabulary, splits
from avi.datasets.formats import byte_limit, read_file
from avi.datasets.texts import Vectorizer
from avi.errors import ConfigError, DataError
from avi.ragged import Document
from avi.types import Dataset, Splits, Support


@dataclass(frozen=True)
class Corpus:
    """Documents in random order, stored as what they hold: memory goes with the non-zero counts."""

    path: str | None
    format: CountFormat | Literal["text"]
    vocabulary: str | None  # a file with one term on each line; None: terms are named by their ids
    first_id: Literal[0, 1]  # of the first term, in lda-c and svmlight files
    vectorizer: Vectorizer  # for a folder of texts
    valid_fraction: float
    test_fraction: float
    split_seed: int

    support: ClassVar[Support] = "terms"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.path is None:
            raise ValueError(
                "which documents? Say dataset.path=<file>, or a folder with dataset.format=text."
            )
        if self.format == "text" and self.vocabulary is not None:
            raise ValueError("the vocabulary of texts is found in them: leave out vocabulary.")
        for name in ("valid_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 0.5:
                raise ValueError(f"{name} must lie between 0 and 0.5; got {getattr(self, name)}.")

    def load(self) -> Splits:
        """Return the splits."""
        bags = self._read(Path(str(self.path)).expanduser())
        number = len(bags)
        num_valid, num_test = (
            max(1, round(number * share)) for share in (self.valid_fraction, self.test_fraction)
        )
        num_train = number - num_valid - num_test
        if num_train < 1:
            raise DataError(f"{self.path}: {number} documents are too few to split in three.")
        order = permutation(number, self.split_seed)
        return splits(bags.chosen(order), (num_train, num_valid, num_test))

    def _read(self, path: Path) -> Bags:
        if self.format == "text":
            if not path.is_dir():
                raise ConfigError(f"There is no folder {path}.")
            return self.vectorizer.read(path)
        if not path.is_file():
            raise ConfigError(f"There is no file {path}.")
        vocabulary = None
        if self.vocabulary is not None:
            named = Path(self.vocabulary).expanduser()
            if not named.is_file():
                raise ConfigError(f"There is no file {named}.")
            vocabulary = read_vocabulary(named)
        content = read_file(path, byte_limit())
        return read_counts(content, str(path), self.format, vocabulary, self.first_id)

    def view(self, row: Document, index: Int[Array, ""], visit: Int[Array, ""]) -> Document:
        """Return ids and counts as numbers to compute with."""
        del index, visit
        return row.unpacked()

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self
