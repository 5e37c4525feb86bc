"""Small corpora."""

import jax
import jax.numpy as jnp
import numpy as np

from avi.ragged import Document, Ragged

NUM_TERMS = 30


def corpus(number, num_topics=3, seed=0):
    """Return `number` documents of 3 to 12 distinct terms, as stored."""
    random = np.random.default_rng(seed)
    beta = random.dirichlet(np.full(NUM_TERMS, 0.1), num_topics)
    rows = []
    for _ in range(number):
        mixed = random.dirichlet(np.full(num_topics, 0.3)) @ beta
        words = np.bincount(random.choice(NUM_TERMS, 30, p=mixed), minlength=NUM_TERMS)
        ids = np.flatnonzero(words)[:12]
        rows.append((ids, words[ids]))
    lengths = np.array([len(ids) for ids, _ in rows], np.int32)
    starts = (np.cumsum(lengths) - lengths).astype(np.int32)
    columns = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Document(*(Ragged(values, starts, lengths, 12) for values in columns), NUM_TERMS)


def view(row, index, visit):
    """Return a stored document as the bound sees it."""
    del index, visit
    return row.unpacked()


def seen(documents):
    """Return all documents, padded."""
    everything = np.arange(len(documents.ids))
    padded = jax.tree.map(lambda column: jnp.asarray(column[everything]), documents)
    return jax.vmap(lambda row: row.unpacked())(padded)
