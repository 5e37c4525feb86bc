"""topics.json, topics.csv and proportions.csv: what a topic model has learned."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avi.results.record import NAN, Count, lines_of, plain, restored
from avi.results.store import Files
from avi.rundir import atomic_write

TOPICS = "topics.json"


class Term(NamedTuple):
    """One term of a topic and its probability there."""

    term: str
    weight: float


@dataclass(frozen=True)
class Topic:
    """One topic: shares are of 1, coherence is NPMI."""

    topic: Count  # its number
    share: float  # of held-out documents
    tokens: float  # share of the training corpus's tokens
    coherence: float
    terms: tuple[Term, ...]  # the heaviest first


@dataclass(frozen=True)
class WordBound:
    """A held-out figure over all tokens of some documents."""

    nats: float = NAN
    tokens: Count = NAN
    nats_per_word: float = NAN
    perplexity: float = NAN  # exp(-nats per word)

    @classmethod
    def over(cls, nats: float, tokens: int) -> "WordBound":
        """Return the figure of so many nats over so many tokens."""
        each = nats / max(tokens, 1)
        return cls(nats, tokens, each, float(np.exp(-each)))


@dataclass(frozen=True)
class HeldOut:
    """What the topics predict of held-out documents, by definitions that the file spells out."""

    split: str
    documents: Count
    full_document: WordBound
    completion: WordBound
    one_topic: WordBound


@dataclass(frozen=True)
class Topics:
    """The content of topics.json."""

    definitions: Mapping[str, str]
    coherence: float  # the mean over topics
    told_apart: float  # topics
    held_out: HeldOut
    topics: tuple[Topic, ...]


def write(folder: Path, topics: Topics, rows: np.ndarray, proportions: np.ndarray) -> None:
    """Write the three files into the run `folder`; `proportions` [documents, K] are of `rows`."""
    content = json.dumps(plain(topics), indent=1)
    atomic_write(folder / TOPICS, (content + "\n").encode())
    terms = [
        (f"{topic.topic}", rank, term, f"{weight:.6g}")
        for topic in topics.topics
        for rank, (term, weight) in enumerate(topic.terms, 1)
    ]
    header = ("topic", "rank", "term", "weight")
    atomic_write(folder / "topics.csv", lines_of([header, *terms]).encode())
    shares = [
        (row, *(f"{share:.5f}" for share in own))
        for row, own in zip(rows, proportions, strict=True)
    ]
    names = ("row", *(f"topic{number}" for number in range(len(topics.topics))))
    atomic_write(folder / "proportions.csv", lines_of([names, *shares]).encode())


def read(files: Files) -> Topics | None:
    """Return the topics of a run, None where it has none."""
    tree = files.json(TOPICS)
    return restored(Topics, tree) if tree else None
