"""Twenty newsgroups (Lang 1995), sorted by date: messages for training, later ones for testing."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Array, Int

from avi.datasets.base import cut, permutation
from avi.datasets.documents import Bags, splits
from avi.datasets.fetch import PublicFile, obtain, require_sha256
from avi.datasets.texts import Vectorizer
from avi.process.grammar import many, verb
from avi.ragged import Document
from avi.settings import SPLITS
from avi.types import Dataset, Splits, Support

FOLDERS = ("20news-bydate-train", "20news-bydate-test")
NUM_MESSAGES = (11_314, 7_532)  # of each folder
ARCHIVE = PublicFile(
    folder="twenty_newsgroups",
    names=("20news-bydate.tar.gz", "20newsbydate.tar.gz"),
    urls=(
        "https://ndownloader.figshare.com/files/5975967",
        "http://qwone.com/~jason/20Newsgroups/20news-bydate.tar.gz",
    ),
    max_bytes=2**24,
)
SHA256 = "8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610"  # scikit-learn's
LARGEST = 2**20  # bytes of a message that are read


class Messages(NamedTuple):
    """Texts and what they are called, group/number, those for training first."""

    texts: list[str]
    names: list[str]
    num_train: int


@dataclass(frozen=True)
class TwentyNewsgroups:
    """Bags of words of messages less their headers; those without a word are left out."""

    vectorizer: Vectorizer
    num_valid: int  # of the messages for training, in random order
    split_seed: int  # of this order

    support: ClassVar[Support] = "terms"
    redraws: ClassVar[bool] = False
    image_shape: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 0 <= self.num_valid < NUM_MESSAGES[0] // 2:
            most = NUM_MESSAGES[0] // 2 - 1
            raise ValueError(f"num_valid must be 0 to {most}; got {self.num_valid}.")

    def load(self) -> Splits:
        """Return the splits, from AVI_DATA_DIR, the cache or the network."""
        messages = obtain(ARCHIVE, _accept)
        bags = self.vectorizer.bags(messages.texts, names=tuple(messages.names))
        kept = np.flatnonzero(bags.lengths)
        num_train = int((kept < messages.num_train).sum())
        order = kept.copy()
        order[:num_train] = kept[permutation(num_train, self.split_seed)]
        sizes = num_train - self.num_valid, self.num_valid, len(kept) - num_train
        groups = np.array([name.split("/")[0] for name in messages.names])[order]
        empty = len(messages.texts) - len(kept)
        said = (
            f"{many(empty, 'message')} of {len(messages.texts)} {verb(empty, 'have')} no term of "
            f"the vocabulary and {verb(empty, 'are')} left out."
        )
        return splits(bags, order, sizes)._replace(
            labels=dict(zip(SPLITS, cut(groups, sizes), strict=True)),
            remarks=(said,) if empty else (),
        )

    def documents_of(self, path: Path, vocabulary: tuple[str, ...]) -> Bags:
        """Return texts of a person's own; terms behind `vocabulary` are not of it."""
        return self.vectorizer.read(path, vocabulary)

    def view(self, row: Document, index: Int[Array, ""], visit: Int[Array, ""]) -> Document:
        """Return ids and counts as numbers to compute with."""
        del index, visit
        return row.unpacked()

    def fixed(self) -> Dataset:
        """Return itself: nothing is drawn."""
        return self


def _accept(content: bytes) -> Messages:
    require_sha256(content, SHA256)
    found: dict[str, dict[str, str]] = {folder: {} for folder in FOLDERS}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                folder, _, name = member.name.partition("/")
                file = archive.extractfile(member) if folder in found else None
                if file is not None:
                    found[folder][name] = _body(file.read(LARGEST).decode("latin1"))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"it is not the archive of the newsgroups ({error})") from error
    if tuple(map(len, found.values())) != NUM_MESSAGES:
        raise ValueError("it does not hold the messages of the newsgroups")
    both = [sorted(of_folder.items()) for of_folder in found.values()]
    names, texts = zip(*(both[0] + both[1]), strict=True)
    return Messages(list(texts), list(names), len(both[0]))


def _body(message: str) -> str:
    """Return a message less its header, which ends at the first empty line."""
    return message.partition("\n\n")[2]
