"""The Associated Press corpus of lda-c: 2246 articles, 10473 terms, 435838 tokens."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Array, Int

from avi.datasets.documents import Bags, read_counts, splits
from avi.datasets.fetch import PublicFile, obtain, require_sha256
from avi.datasets.formats import byte_limit, read_file
from avi.ragged import Document
from avi.types import Dataset, Splits, Support

NUM_DOCUMENTS, NUM_TRAIN = 2246, 2000
ARCHIVE = PublicFile(
    "ap",
    ("ap.tgz",),
    (
        "https://raw.githubusercontent.com/blei-lab/lda-c/master/example/ap.tgz",
        "http://www.cs.columbia.edu/~blei/lda-c/ap.tgz",
    ),
    2**23,
)
SHA256 = {
    "ap/ap.dat": "c9b946b6cdb2c6e876198ae227afb573df023db84fb53a9d2b31c0d59224fea1",
    "ap/vocab.txt": "fbf0d0f836cb2b0360bd3cae0f71c2f34b140b1dd8dd0d0bdb618a64704337f6",
}


@dataclass(frozen=True)
class AssociatedPress:
    """Articles in the order of the file: the last 246 are for testing, those before for training.

    Held-out articles lose the terms that no training article has.
    """

    num_valid: int  # of the 2000 training articles, the last

    support: ClassVar[Support] = "terms"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 0 <= self.num_valid < NUM_TRAIN:
            raise ValueError(f"num_valid must be 0 to {NUM_TRAIN - 1}; got {self.num_valid}.")

    def load(self) -> Splits:
        """Return the splits."""
        bags = obtain(ARCHIVE, _accept)
        num_test = NUM_DOCUMENTS - NUM_TRAIN
        sizes = NUM_TRAIN - self.num_valid, self.num_valid, num_test
        return splits(bags, np.arange(NUM_DOCUMENTS), sizes)

    def documents_of(self, path: Path, vocabulary: tuple[str, ...]) -> Bags:
        """Return the documents of another file in lda-c form, with ids of this vocabulary."""
        content = read_file(path, byte_limit())
        return read_counts(content, str(path), "lda-c", vocabulary, first_id=0, fixed=False)

    def view(self, row: Document, index: Int[Array, ""], visit: Int[Array, ""]) -> Document:
        """Return ids and counts as numbers to compute with."""
        del index, visit
        return row.unpacked()

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


def _accept(content: bytes) -> Bags:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            counts, terms = (_member(archive, name) for name in SHA256)
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"it is not the archive of lda-c ({error})") from error
    vocabulary = tuple(terms.decode().split("\n")[:-1])
    return read_counts(counts, "ap.dat", "lda-c", vocabulary, first_id=0)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is not a file in it")
    return require_sha256(file.read(ARCHIVE.max_bytes), SHA256[name])
