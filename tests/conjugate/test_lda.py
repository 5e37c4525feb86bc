"""The bound of a document against independent implementations and exact evidence."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conjugate.corpora import NUM_TERMS, corpus, seen
from oracles import topics as oracle

from avi.families.dirichlet import Dirichlet
from avi.models.lda import LDA
from avi.objectives.elbo import ClosedFormElbo
from avi.ragged import Document
from avi.refine.coordinate import CoordinateAscent
from avi.types import Local, Target

SEARCH = CoordinateAscent(steps=5000, tolerance=1e-12)


def model(num_topics, alpha=0.3, topics="mean"):
    return LDA(num_topics, alpha, 0.1, 0, topics)


def some_topics(num_topics, num_terms=NUM_TERMS, seed=0):
    random = np.random.default_rng(seed)
    return {"topics": jnp.asarray(random.gamma(0.5, 1.0, (num_terms, num_topics)) + 0.01)}


@partial(jax.jit, static_argnums=0)
def optima(lda, theta, documents):
    """Return the bound of every document at its optimum, and lam."""
    family = Dirichlet(lda.latent_size)

    def one(x):
        local = Local(Target(lda, theta, x), family, ClosedFormElbo())
        lam = SEARCH(local, family.init(), jax.random.key(0))
        return lda.elbo(theta, x, family, lam), lam

    return jax.vmap(one)(documents)


def parts(x):
    inside = np.asarray(x.counts) > 0
    return np.asarray(x.ids)[inside], np.asarray(x.counts)[inside].astype(int)


def documents(number):
    everything = seen(corpus(number))
    return [jax.tree.map(lambda leaf, n=n: leaf[n], everything) for n in range(number)]


def log_weights(lda, theta):
    return np.asarray(lda.log_topics(theta)).T


@pytest.mark.parametrize("topics", ["mean", "posterior"])
def test_the_bound_is_that_of_an_independent_program(topics):
    lda, theta = model(3, topics=topics), some_topics(3)
    values, lams = optima(lda, theta, seen(corpus(10)))
    for x, value, lam in zip(documents(10), values, lams, strict=True):
        expected, gamma = oracle.bound(*parts(x), log_weights(lda, theta), lda.alpha)
        np.testing.assert_allclose(value, expected, rtol=1e-9)
        np.testing.assert_allclose(jnp.exp(lam), gamma, rtol=1e-6)


@pytest.mark.slow
def test_the_bound_of_sixty_articles_is_that_of_an_independent_program(articles):
    from avi.datasets.ap import AssociatedPress

    splits = AssociatedPress(num_valid=0).load()
    theta = some_topics(20, num_terms=len(splits.vocabulary))
    lda = model(20, alpha=0.1)
    first = jax.tree.map(lambda column: jnp.asarray(column[:60]), splits.train)
    rows = jax.vmap(lambda row: row.unpacked())(first)
    values, _ = optima(lda, theta, rows)
    log_beta = log_weights(lda, theta)
    for number in range(60):
        x = jax.tree.map(lambda leaf, n=number: leaf[n], rows)
        expected, _ = oracle.bound(*parts(x), log_beta, lda.alpha, tolerance=1e-10)
        # Two optima of one document would differ by more: both searches end in the same one.
        np.testing.assert_allclose(values[number], expected, atol=1e-4)


def test_three_ways_to_the_exact_evidence_agree():
    random = np.random.default_rng(0)
    beta = random.dirichlet(np.ones(5), 2)
    ids, counts = np.arange(4), np.array([3, 1, 2, 4])
    expected = oracle.evidence_by_enumeration(ids, counts, beta, 0.3)
    for other in (oracle.evidence_by_counts, oracle.evidence_by_quadrature):
        np.testing.assert_allclose(other(ids, counts, beta, 0.3), expected, rtol=1e-12)


@pytest.mark.parametrize("num_topics", [2, 3])
def test_the_bound_is_below_the_exact_evidence_and_near_it(num_topics):
    lda, theta = model(num_topics), some_topics(num_topics)
    beta = np.exp(log_weights(lda, theta))
    exact = oracle.evidence_by_quadrature if num_topics == 2 else oracle.evidence_by_counts
    values, _ = optima(lda, theta, seen(corpus(5)))
    for x, value in zip(documents(5), values, strict=True):
        gap = exact(*parts(x), beta, lda.alpha) - float(value)
        assert 0 <= gap < 3  # methods.md measures 0.5 nats on a like document


def test_the_joint_density_integrates_to_the_exact_evidence():
    lda, theta = model(2, alpha=1.5), some_topics(2)
    share = (np.polynomial.legendre.leggauss(400)[0] + 1) / 2
    weight = np.polynomial.legendre.leggauss(400)[1] / 2
    for x in documents(3):
        z = jnp.stack([share, 1 - share], axis=1)
        density = jnp.exp(jax.vmap(lambda z, x=x: lda.log_joint(theta, x, z))(z))
        evidence = oracle.evidence_by_quadrature(
            *parts(x), np.exp(log_weights(lda, theta)), lda.alpha
        )
        # z^(alpha - 1) is not smooth at the corners: 400 nodes give six digits.
        np.testing.assert_allclose(np.log(density @ weight), evidence, atol=1e-5)


def test_padding_does_not_change_a_bound_by_a_bit():
    lda, theta = model(3), some_topics(3)
    x = documents(1)[0]
    wider = Document(jnp.pad(x.ids, (0, 20)), jnp.pad(x.counts, (0, 20)), x.num_terms)
    lam = jnp.asarray([0.1, 0.5, -0.3])
    bounds = [lda.elbo(theta, document, Dirichlet(3), lam) for document in (x, wider)]
    np.testing.assert_allclose(*bounds, rtol=1e-14)


def test_topics_taken_as_known_give_another_bound_than_their_posterior():
    lda, theta = model(3), some_topics(3)
    x, lam = documents(1)[0], jnp.zeros(3)
    under_posterior = replace(lda, topics="posterior").elbo(theta, x, Dirichlet(3), lam)
    assert under_posterior < lda.elbo(theta, x, Dirichlet(3), lam)  # E[log beta] < log E[beta]


def test_a_whole_natural_step_on_lam_is_the_coordinate_update():
    lda, theta, family = model(4), some_topics(4), Dirichlet(4)
    x, lam = documents(1)[0], jnp.asarray([0.4, -1.0, 2.0, 0.0])
    gradient = jax.grad(lambda lam: lda.elbo(theta, x, family, lam))(lam)
    expected = lda.coordinate_update(theta, x, family)(lam)
    np.testing.assert_allclose(family.natural_step(lam, gradient, 1.0), expected, rtol=1e-9)


def test_a_sampled_document_has_the_length_asked_for_and_the_right_terms():
    lda, theta = model(3), some_topics(3)
    like = documents(1)[0]
    like = replace(like, counts=jnp.where(jnp.arange(12) < 5, 1.0, 0.0))
    draw = jax.jit(jax.vmap(lambda key: lda.sample(theta, key, like)))
    z, x = draw(jax.random.split(jax.random.key(0), 20_000))
    np.testing.assert_array_equal(x.counts.sum(1), 5)
    np.testing.assert_allclose(z.sum(1), 1, rtol=1e-12)
    frequency = np.bincount(x.ids[:, :5].ravel(), minlength=NUM_TERMS) / x.ids[:, :5].size
    expected = np.asarray(lda.mean_globals(theta)["topics"]).mean(1)
    # Tokens of one document share z: the variance is at most that of one draw per document.
    error = np.sqrt(expected * (1 - expected) / len(x.ids))
    assert (abs(frequency - expected) < 5 * error).all()  # false alarm: 30 * 6e-7
