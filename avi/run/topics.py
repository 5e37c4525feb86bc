"""What a topic model has learned: its topics, how coherent they are, and how well it predicts."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from avi.engine.evaluator import moments
from avi.engine.lanes import in_lanes
from avi.families.dirichlet import Dirichlet
from avi.models.lda import LDA
from avi.objectives.elbo import ClosedFormElbo
from avi.ragged import Document
from avi.randomness import key_for
from avi.refine.coordinate import CoordinateAscent
from avi.results.topics import HeldOut, Term, Topic, Topics, WordBound, write
from avi.run.product import End, Made, Product
from avi.run.session import Session
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


def held_out(model: LDA, theta: Theta, rows: Document) -> tuple[WordBound, WordBound]:
    """Return the full-document bound and the completion of stored documents (DEFINITIONS)."""
    padded = jax.tree.map(lambda column: column[np.arange(len(column))], rows)
    nats, tokens, hidden_nats, hidden_tokens = _held_out_lanes(model)(theta, padded).sum(0)
    return (
        WordBound.over(float(nats), int(tokens)),
        WordBound.over(float(hidden_nats), int(hidden_tokens)),
    )


@lru_cache
def _held_out_lanes(model: LDA) -> Callable[..., Any]:
    """Return the compiled function from (theta, rows) to the four numbers of every row."""
    known = replace(model, topics="mean")
    family = Dirichlet(model.latent_size)

    def optimum(theta: Theta, x: Document) -> Array:
        local = Local(Target(known, theta, x), family, ClosedFormElbo())
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
    ids = column.values[column.positions()]
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


def one_topic(model: LDA, train: Document, rows: Document) -> WordBound:
    """Return what a single topic predicts of the documents `rows` (DEFINITIONS)."""
    seen, held = _term_counts(train), _term_counts(rows)
    nats = held @ np.log((seen + model.eta) / (seen.sum() + model.eta * len(seen)))
    return WordBound.over(float(nats), int(held.sum()))


def _term_counts(rows: Document) -> Float[np.ndarray, " V"]:
    ids: Any = rows.ids
    counts: Any = rows.counts
    positions = ids.positions()
    weights = counts.values[positions].astype(float)
    return np.bincount(ids.values[positions], weights, rows.num_terms)


def learned(
    model: LDA, theta: Theta, splits: Splits, proportions: Float[np.ndarray, "n K"]
) -> Topics:
    """Return what a topic model has learned, given E[z] of the held-out documents."""
    topics = np.asarray(model.mean_globals(theta)["topics"], np.float64)
    tokens = token_shares(model, np.asarray(theta["topics"], np.float64))
    words = splits.vocabulary or ()
    top = top_terms(topics, min(TOP_TERMS, len(topics)))
    coherent = coherence(splits.train, top[:, :COHERENT_TERMS])
    shares = proportions.mean(0)
    bound, completion = held_out(model, theta, splits.test)
    return Topics(
        definitions=DEFINITIONS,
        coherence=float(coherent.mean()),
        told_apart=told_apart(topics, tokens),
        held_out=HeldOut(
            split="test",
            documents=len(splits.test.ids),
            full_document=bound,
            completion=completion,
            one_topic=one_topic(model, splits.train, splits.test),
        ),
        topics=tuple(
            Topic(
                topic=k,
                share=float(shares[k]),
                tokens=float(tokens[k]),
                coherence=float(coherent[k]),
                terms=tuple(Term(words[term], float(topics[term, k])) for term in top[k]),
            )
            for k in range(model.latent_size)
        ),
    )


def _proportions(session: Session, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Return E[z] of the held-out documents as the trained mode infers it, and their rows."""
    points = session.points("test")
    key = key_for(session.experiment.seed, "infer")
    lams = session.evaluator().lams(params, points, key)
    mean, _ = moments(session.experiment.problem, params.psi, lams)
    return mean, session.splits.origin.rows_of(points.ids)


def _due(session: Session) -> bool:
    topical = isinstance(session.experiment.problem.model, LDA)
    return topical and session.splits.vocabulary is not None


def _make(end: End) -> Made:
    proportions, rows = _proportions(end.session, end.params)
    model: Any = end.session.experiment.problem.model
    topics = learned(model, end.params.theta, end.session.splits, proportions)
    write(end.run.path, topics, rows, proportions)
    return Made()


PRODUCT = Product(files=("topics.json", "topics.csv", "proportions.csv"), due=_due, make=_make)
