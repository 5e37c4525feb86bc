"""What a topic model has learned: its topics, how coherent they are, and how well it predicts."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.engine.lanes import in_lanes
from avi.families.dirichlet import Dirichlet
from avi.models.lda import LDA
from avi.objectives.elbo import Exact
from avi.ragged import Document
from avi.refine.coordinate import CoordinateAscent
from avi.run.session import Session
from avi.rundir import atomic_write
from avi.types import Local, Params, Splits, Target, Theta

TOP_TERMS = 20  # listed of each topic
COHERENT_TERMS = 10
SEARCH = CoordinateAscent(steps=2000, tolerance=1e-7)
DEFINITIONS = {
    "full_document": (
        "Sum over held-out documents of the bound on log p(document) under q(z) q(tokens' topics) "
        "at its optimum, with the topics taken as known at their posterior mean, over their number "
        "of tokens. Held-out terms that never occur in training are left out."
    ),
    "completion": (
        "q(z) is inferred from every other term of a held-out document; then the sum of log sum_k "
        "E[z_k] beta_kw over the tokens of its other terms, over their number (Wallach et al. "
        "2009; Hoffman et al. 2013). Topics as above."
    ),
    "perplexity": "exp of minus the nats per word: an upper bound for full_document.",
    "coherence": (
        "Normalised pointwise mutual information of the pairs among a topic's top 10 terms, from "
        "the training documents that hold them, -1 for a pair that never meets; the mean over "
        "pairs (Bouma 2009; Roder, Both & Hinneburg 2015)."
    ),
    "one_topic": (
        "Sum of log p(term) over the held-out tokens, over their number, p the training corpus's "
        "term frequencies smoothed by eta: what a model reaches that tells no topics apart."
    ),
    "share": "Mean over held-out documents of E[z_k] under the trained mode.",
    "tokens": "Share of the training corpus's tokens that q(topics) ascribes to the topic.",
    "told_apart": (
        "exp of the mutual information of topic and term under the posterior mean: K for disjoint "
        "topics of equal share, 1 if all are alike or one alone is used."
    ),
}


class HeldOut(NamedTuple):
    """A held-out figure: total nats and the tokens it is about."""

    nats: float
    tokens: int

    @property
    def per_word(self) -> float:
        """Nats per token."""
        return self.nats / max(self.tokens, 1)

    @property
    def perplexity(self) -> float:
        """exp(-nats per token)."""
        return float(np.exp(-self.per_word))


def held_out(model: LDA, theta: Theta, rows: Document) -> tuple[HeldOut, HeldOut]:
    """Return the full-document bound and the completion of stored documents (DEFINITIONS)."""
    padded = jax.tree.map(lambda column: column[np.arange(len(column))], rows)
    nats, tokens, hidden_nats, hidden_tokens = _held_out_lanes(model)(theta, padded).sum(0)
    return HeldOut(nats, int(tokens)), HeldOut(hidden_nats, int(hidden_tokens))


@lru_cache
def _held_out_lanes(model: LDA) -> Callable[..., Any]:
    """Return the compiled function from (theta, rows) to the four numbers of every row."""
    known = replace(model, topics="mean")
    family = Dirichlet(model.latent_size)

    def optimum(theta: Theta, x: Document) -> Array:
        local = Local(Target(known, theta, x), family, Exact())
        return SEARCH(local, family.init(), jax.random.key(0))

    def one(theta: Theta, row: Document) -> Float[Array, " 4"]:
        x = row.unpacked()
        bound = known.elbo(theta, x, family, optimum(theta, x))
        even = jnp.arange(x.counts.size) % 2 == 0
        seen, hidden = x.counts * even, x.counts * ~even
        proportions = family.mean(optimum(theta, replace(x, counts=seen)))
        predicted = jnp.log(jnp.exp(known.log_topics(theta)[x.ids]) @ proportions)
        return jnp.stack([bound, x.counts.sum(), hidden @ predicted, hidden.sum()])

    return in_lanes(one)


def top_terms(topics: Float[np.ndarray, "V K"], number: int) -> Int[np.ndarray, "K number"]:
    """Return the heaviest terms of every topic, heaviest first."""
    return np.argsort(-topics, axis=0, kind="stable")[:number].T


def coherence(rows: Document, terms: Int[np.ndarray, "K n"]) -> Float[np.ndarray, " K"]:
    """Return the mean NPMI of every topic's `terms` over stored documents (DEFINITIONS)."""
    from scipy.sparse import csr_array

    wanted, place = np.unique(terms, return_inverse=True)
    column: Any = rows.ids
    ids = column.values[_positions(column)]
    document = np.repeat(np.arange(len(column)), column.lengths)
    kept = np.isin(ids, wanted)
    found = (document[kept], np.searchsorted(wanted, ids[kept]))
    holds = csr_array((np.ones(kept.sum()), found), (len(column), len(wanted)))
    together = (holds.T @ holds).toarray() / len(column)
    alone = np.diag(together)
    with np.errstate(divide="ignore", invalid="ignore"):
        npmi = np.log(together / np.outer(alone, alone)) / -np.log(together)
    npmi = np.where(together == 0, -1.0, np.where(together >= 1, 1.0, npmi))
    upper = np.triu_indices(terms.shape[1], 1)
    return np.array([npmi[np.ix_(own, own)][upper].mean() for own in place.reshape(terms.shape)])


def token_shares(model: LDA, topics: Float[np.ndarray, "V K"]) -> Float[np.ndarray, " K"]:
    """Return each topic's share of the corpus from the counts in q(topics) (DEFINITIONS)."""
    counts = np.maximum(topics - model.eta, 0).sum(0)
    return counts / counts.sum() if counts.sum() > 0 else np.full(len(counts), 1 / len(counts))


def told_apart(topics: Float[np.ndarray, "V K"], shares: Float[np.ndarray, " K"]) -> float:
    """Return how many topics, each a column that sums to 1, can be told apart (DEFINITIONS)."""
    ratio = np.log(topics) - np.log(topics @ shares)[:, None]
    return float(np.exp(np.sum(shares * topics * ratio)))


def one_topic(model: LDA, train: Document, rows: Document) -> HeldOut:
    """Return what a single topic predicts of the documents `rows` (DEFINITIONS)."""
    seen, held = _term_counts(train), _term_counts(rows)
    nats = held @ np.log((seen + model.eta) / (seen.sum() + model.eta * len(seen)))
    return HeldOut(float(nats), int(held.sum()))


def _term_counts(rows: Document) -> Float[np.ndarray, " V"]:
    ids: Any = rows.ids
    counts: Any = rows.counts
    positions = _positions(ids)
    weights = counts.values[positions].astype(float)
    return np.bincount(ids.values[positions], weights, rows.num_terms)


def _positions(column: Any) -> Int[np.ndarray, " L"]:
    """Return where the values of a ragged column's rows stand, row by row."""
    first = np.repeat(column.starts - np.cumsum(column.lengths) + column.lengths, column.lengths)
    return first + np.arange(len(first))


def write_topics(session: Session, params: Params, folder: Path) -> None:
    """Write topics.csv, topics.json and proportions.csv; nothing unless the model has topics."""
    model, splits = session.experiment.problem.model, session.splits
    if not isinstance(model, LDA) or splits.vocabulary is None:
        return
    topics = np.asarray(model.mean_globals(params.theta)["topics"], np.float64)
    tokens = token_shares(model, np.asarray(params.theta["topics"], np.float64))
    proportions, ids = _proportions(session, params)
    top = top_terms(topics, min(TOP_TERMS, len(topics)))
    coherent = coherence(splits.train, top[:, :COHERENT_TERMS])
    terms = [
        [(splits.vocabulary[term], float(topics[term, number])) for term in row]
        for number, row in enumerate(top)
    ]
    summary = {
        "definitions": DEFINITIONS,
        "coherence": float(coherent.mean()),
        "told_apart": told_apart(topics, tokens),
        "held_out": _held_out_summary(model, params.theta, splits),
        "topics": [
            {"topic": k, "share": share, "tokens": part, "coherence": value, "terms": row}
            for k, (share, part, value, row) in enumerate(
                zip(
                    proportions.mean(0).tolist(),
                    tokens.tolist(),
                    coherent.tolist(),
                    terms,
                    strict=True,
                )
            )
        ],
    }
    atomic_write(folder / "topics.json", (json.dumps(summary, indent=1) + "\n").encode())
    header = ("topic", "rank", "term", "weight")
    lines = [
        (k, rank, term, f"{weight:.6g}")
        for k, row in enumerate(terms)
        for rank, (term, weight) in enumerate(row, 1)
    ]
    atomic_write(folder / "topics.csv", _csv(header, lines))
    shares = [
        (row, *(f"{share:.5f}" for share in own)) for row, own in zip(ids, proportions, strict=True)
    ]
    names = ("row", *(f"topic{k}" for k in range(model.latent_size)))
    atomic_write(folder / "proportions.csv", _csv(names, shares))


def _proportions(session: Session, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Return E[z] of the held-out documents as the trained mode infers it, and their row ids."""
    from avi.randomness import key_for

    points = session.points("test")
    key = key_for(session.experiment.seed, "infer")
    lams = session.evaluator().lams(params, points, key)
    family = session.experiment.problem.family
    return in_lanes(lambda _, lam: family.mean(lam))(None, lams), points.ids


def _held_out_summary(model: LDA, theta: Theta, splits: Splits) -> dict[str, Any]:
    rows = splits.test
    summary: dict[str, Any] = {"split": "test", "documents": len(rows.ids)}
    found = (*held_out(model, theta, rows), one_topic(model, splits.train, rows))
    for name, figure in zip(("full_document", "completion", "one_topic"), found, strict=True):
        summary[name] = {
            "nats": figure.nats,
            "tokens": figure.tokens,
            "nats_per_word": figure.per_word,
            "perplexity": figure.perplexity,
        }
    return summary


def _csv(header: tuple[str, ...], lines: list[tuple]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue().encode()
