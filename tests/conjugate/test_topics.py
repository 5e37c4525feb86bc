"""Topics, their coherence and held-out figures against computations by hand."""

import csv
import json
from itertools import combinations

import jax
import numpy as np
from conjugate.corpora import NUM_TERMS, corpus, seen
from oracles import topics as oracle

from avi.config.compose import compose
from avi.models.lda import LDA
from avi.report.run_page import report
from avi.results.run import read as read_run
from avi.results.store import Files
from avi.results.topics import read
from avi.run.product import End
from avi.run.session import open_session
from avi.run.topics import (
    PRODUCT,
    coherence,
    held_out,
    one_topic,
    token_shares,
    told_apart,
    top_terms,
)
from avi.rundir import RunDir


def documents(number, seed=0):
    """Return (ids, counts) of each document."""
    x = seen(corpus(number, seed=seed))
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
        "model=lda model.latent_size=3 dataset=corpus inference=svi "
        f"dataset.path={tmp_path}/counts dataset.vocabulary={tmp_path}/terms "
        "train.batch_size=8 precision=float64"
    )
    session = open_session(compose(words.split())[0].tree)
    params = session.initial_state().params
    before = set(tmp_path.iterdir())
    assert PRODUCT.due(session)
    PRODUCT.make(End(session, params, RunDir(tmp_path), lambda: None))
    written = {path.name for path in set(tmp_path.iterdir()) - before}
    assert written == set(PRODUCT.files)
    table = list(csv.DictReader((tmp_path / "topics.csv").read_text().splitlines()))
    topics = read(Files(tmp_path))
    weights = np.asarray(session.experiment.problem.model.mean_globals(params.theta)["topics"])
    assert len(table) == 3 * 20
    assert table[0]["term"] == f"word{weights[:, 0].argmax()}"
    np.testing.assert_allclose(float(table[0]["weight"]), weights[:, 0].max(), rtol=1e-5)
    assert [row["term"] for row in table[:20]] == [t for t, _ in topics.topics[0].terms]
    np.testing.assert_allclose(sum(topic.share for topic in topics.topics), 1, rtol=1e-6)
    shares = list(csv.reader((tmp_path / "proportions.csv").read_text().splitlines()))
    assert len(shares) == 1 + len(session.splits.test.ids)
    np.testing.assert_allclose(np.sum(np.array(shares[1:], float)[:, 1:], 1), 1, atol=1e-4)


def test_topics_are_told_apart_as_mutual_information_has_it():
    apart = np.kron(np.eye(3), np.full((4, 1), 0.25))
    shares = np.full(3, 1 / 3)
    floor = np.maximum(apart, 1e-300)  # its logarithm is finite
    np.testing.assert_allclose(told_apart(floor, shares), 3, rtol=1e-12)
    np.testing.assert_allclose(told_apart(floor, np.eye(3)[0]), 1, rtol=1e-12)
    np.testing.assert_allclose(told_apart(np.full((12, 3), 1 / 12), shares), 1, rtol=1e-12)


def test_equal_topics_predict_what_a_single_topic_predicts():
    lda = LDA(3, 0.3, 0.2, 0, "posterior")
    rows, held = corpus(40), corpus(12, seed=1)
    counts = np.zeros(NUM_TERMS)
    for ids, amounts in documents(40):
        np.add.at(counts, ids, amounts)
    # One topic's posterior three times: what training from scratch with its encoder ends in.
    theta = {"topics": jax.numpy.tile((counts + lda.eta)[:, None], (1, 3))}
    single = one_topic(lda, rows, held)
    full, completion = held_out(lda, theta, held)
    assert full.nats < single.nats  # q(z) q(tokens' topics) loses something even here
    log_terms = np.log((counts + lda.eta) / (counts + lda.eta).sum())
    expected = [(log_terms[ids], amounts) for ids, amounts in documents(12, seed=1)]
    np.testing.assert_allclose(single.nats, sum(a @ b for a, b in expected), rtol=1e-12)
    hidden = sum(a[1::2] @ b[1::2] for a, b in expected)
    np.testing.assert_allclose(completion.nats, hidden, rtol=1e-9)
    np.testing.assert_allclose(token_shares(lda, np.asarray(theta["topics"])), 1 / 3, rtol=1e-12)


def test_a_page_shows_topics_bounds_and_a_collapse(tmp_path):
    def page(full):
        found = {
            "definitions": {"completion": "Inferred from every other term."},
            "coherence": 0.25,
            "told_apart": 2.5,
            "held_out": {
                "full_document": {"nats_per_word": full, "perplexity": 20.0, "tokens": 50},
                "one_topic": {"nats_per_word": -3.5, "perplexity": 33.1, "tokens": 50},
            },
            "topics": [
                {"topic": number, "share": 0.5, "tokens": tokens, "coherence": 0.3, "terms": terms}
                for number, tokens, terms in ((0, 0.25, [["<b>", 0.5]]), (1, 0.75, [["sea", 0.1]]))
            ],
        }
        (tmp_path / "run.json").write_text("{}")
        (tmp_path / "topics.json").write_text(json.dumps(found))
        return report(read_run(tmp_path))

    healthy, collapsed = page(-3.0), page(-3.495)
    assert "&lt;b&gt; 50.0" in healthy
    assert "<b>" not in healthy
    assert healthy.index("sea 10.0") < healthy.index("&lt;b&gt; 50.0")  # the larger share first
    assert all(words in healthy for words in ("75.0 %", "0.250", "−3.0000", "−3.5000", "2.5"))
    assert "collapsed" not in healthy
    assert "collapsed" in collapsed
