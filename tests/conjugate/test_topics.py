"""Topics, their coherence and held-out figures against computations by hand."""

import csv
import json
from itertools import combinations

import jax
import numpy as np
from conjugate.corpora import NUM_TERMS, corpus, seen
from oracles import topics as oracle

from avi.config import compose
from avi.models.lda import LDA
from avi.session import open_session
from avi.topics import coherence, held_out, top_terms, write_topics


def documents(number):
    """Return (ids, counts) of each document."""
    x = seen(corpus(number))
    rows = zip(np.asarray(x.ids), np.asarray(x.counts).astype(int), strict=True)
    return [(ids[counts > 0], counts[counts > 0]) for ids, counts in rows]


def test_coherence_is_the_mean_npmi_of_pairs_in_documents():
    terms = np.array([[0, 3, 5, 9], [9, 2, 11, 0]])
    holds = [set(ids.tolist()) for ids, _ in documents(40)]
    expected = []
    for own in terms:
        values = []
        for a, b in combinations(own, 2):
            both, first, second = (
                np.mean([wanted <= held for held in holds]) for wanted in ({a, b}, {a}, {b})
            )
            values.append(-1.0 if both == 0 else np.log(both / (first * second)) / -np.log(both))
        expected.append(np.mean(values))
    np.testing.assert_allclose(coherence(corpus(40), terms), expected, rtol=1e-12)


def test_held_out_figures_follow_their_definitions():
    lda = LDA(3, 0.3, 0.1, 0, "posterior")
    topics = np.random.default_rng(0).gamma(0.5, 1.0, (NUM_TERMS, 3)) + 0.01
    beta = (topics / topics.sum(0)).T
    full, completion = held_out(lda, {"topics": jax.numpy.asarray(topics)}, corpus(12))
    nats = hidden_nats = hidden_tokens = 0.0
    for ids, counts in documents(12):
        nats += oracle.bound(ids, counts, np.log(beta), lda.alpha)[0]
        _, gamma = oracle.bound(ids[::2], counts[::2], np.log(beta), lda.alpha)
        hidden_nats += counts[1::2] @ np.log((gamma / gamma.sum()) @ beta[:, ids[1::2]])
        hidden_tokens += counts[1::2].sum()
    np.testing.assert_allclose(full.nats, nats, rtol=1e-6)
    np.testing.assert_allclose(completion.nats, hidden_nats, rtol=1e-5)
    assert full.tokens == sum(counts.sum() for _, counts in documents(12))
    assert completion.tokens == hidden_tokens
    np.testing.assert_allclose(full.perplexity, np.exp(-nats / full.tokens), rtol=1e-6)


def test_the_heaviest_terms_come_first():
    topics = np.array([[0.1, 0.5], [0.7, 0.2], [0.2, 0.3]])
    np.testing.assert_array_equal(top_terms(topics, 2), [[1, 2], [0, 2]])


def test_topics_of_a_run_are_written_as_tables(tmp_path):
    lines = []
    for ids, counts in documents(40):
        pairs = " ".join(f"{term}:{count}" for term, count in zip(ids, counts, strict=True))
        lines.append(f"{len(ids)} {pairs}\n")
    (tmp_path / "counts").write_text("".join(lines))
    (tmp_path / "terms").write_text("".join(f"word{n}\n" for n in range(NUM_TERMS)))
    words = (
        "model=lda model.latent_size=3 dataset=corpus inference=svi inference.refine=coordinate "
        f"refine=coordinate dataset.path={tmp_path}/counts dataset.vocabulary={tmp_path}/terms "
        "train.batch_size=8 precision=float64"
    )
    session = open_session(compose(words.split())[0].tree)
    params = session.initial_state().params
    write_topics(session, params, tmp_path)
    table = list(csv.DictReader((tmp_path / "topics.csv").read_text().splitlines()))
    summary = json.loads((tmp_path / "topics.json").read_text())
    weights = np.asarray(session.experiment.problem.model.mean_globals(params.theta)["topics"])
    assert len(table) == 3 * 20
    assert table[0]["term"] == f"word{weights[:, 0].argmax()}"
    np.testing.assert_allclose(float(table[0]["weight"]), weights[:, 0].max(), rtol=1e-5)
    assert [row["term"] for row in table[:20]] == [t for t, _ in summary["topics"][0]["terms"]]
    np.testing.assert_allclose(sum(topic["share"] for topic in summary["topics"]), 1, rtol=1e-6)
    shares = list(csv.reader((tmp_path / "proportions.csv").read_text().splitlines()))
    assert len(shares) == 1 + len(session.splits.test.ids)
    np.testing.assert_allclose(np.sum(np.array(shares[1:], float)[:, 1:], 1), 1, atol=1e-4)
