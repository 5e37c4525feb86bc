"""Steps on the distribution of the globals: exact, unbiased and monotone."""

import math
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conjugate.corpora import corpus, seen, view

from avi.conjugate import NormalGamma
from avi.engine.buckets import make_buckets, place
from avi.engine.feed import mapped, num_bytes
from avi.engine.loop import Loop
from avi.engine.step import init_state, make_step
from avi.errors import ConfigError
from avi.families.categorical import Categorical
from avi.families.dirichlet import Dirichlet
from avi.inference.free_form import FreeForm
from avi.inference.refined import Refined
from avi.inference.start import Start
from avi.models.gaussian_mixture import GaussianMixture
from avi.models.lda import LDA
from avi.objectives.elbo import ClosedFormElbo
from avi.optimizers.natural_gradient import NaturalGradient
from avi.optimizers.robbins_monro import RobbinsMonro
from avi.problem import Problem
from avi.refine.coordinate import CoordinateAscent
from avi.types import DataSpec, Params

SEARCH = CoordinateAscent(steps=500, tolerance=1e-12)
WHOLE = RobbinsMonro(kappa=0.0, tau=0.0, every=1)
FIRST = RobbinsMonro(kappa=1.0, tau=0.0, every=1)  # its first step has size 1 on any batch
SVI = Refined(Start(), SEARCH, backprop=False)
NUM_DATA = 6
MIXTURE = GaussianMixture(3, concentration=0.7, kappa=0.1, shape=1.2, rate=0.8)
TOPICS = LDA(3, alpha=0.3, eta=0.2, seeds=1, topics="posterior")


def rows_of(model, number=NUM_DATA):
    if isinstance(model, LDA):
        return corpus(number)
    centres = np.array([[-4.0, 0.0], [0.0, 3.0], [5.0, 1.0]])
    random = np.random.default_rng(1)
    return centres[random.integers(0, 3, number)] + random.normal(size=(number, 2))


def view_of(model):
    return view if isinstance(model, LDA) else lambda row, index, visit: row


def family_of(model):
    return Dirichlet(3) if isinstance(model, LDA) else Categorical(3)


def start(model, rows, inference, theta_optimizer=WHOLE, phi_optimizer=None):
    problem = Problem(model, family_of(model), inference, ClosedFormElbo())
    x = seen(rows) if isinstance(model, LDA) else jnp.asarray(rows)
    number = len(jax.tree.leaves(rows)[0])
    spec = DataSpec(jax.tree.map(lambda leaf: leaf[0], x), None, model.support, number, x)
    params = problem.init(jax.random.key(3), spec)
    optimizers = Params(theta_optimizer, phi_optimizer or optax.sgd(0.0))
    return problem, optimizers, init_state(problem, optimizers, params)


def stepper(model, rows, inference=SVI, phi=None, optimizer=FIRST):
    """Return theta after one whole step on the rows of an index."""
    problem, optimizers, state = start(model, rows, inference, optimizer)
    if phi is not None:
        state = state._replace(params=state.params._replace(phi=phi))
    number = len(jax.tree.leaves(rows)[0])
    step = make_step(problem, optimizers, view_of(model), number)
    slots = 12 if isinstance(model, LDA) else None
    key = jax.random.key(0)
    run = jax.jit(lambda state, data, index: step(state, data, index, key, slots)[0].params.theta)
    return lambda index: run(state, place(rows), jnp.asarray(index))


@pytest.mark.parametrize("model", [TOPICS, MIXTURE], ids=["lda", "gaussian_mixture"])
def test_the_mean_step_over_all_minibatches_is_the_full_step(model):
    rows = rows_of(model)
    step = stepper(model, rows)
    full = step(np.arange(NUM_DATA))
    batches = [step(np.array(pair)) for pair in combinations(range(NUM_DATA), 2)]
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *batches)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), mean, full)


def test_one_whole_step_lands_on_the_exact_posterior_of_labelled_data():
    rows, number = rows_of(MIXTURE, 40), 40
    labels = np.random.default_rng(5).integers(0, 3, number)
    certain = jnp.asarray(np.where(np.arange(3) == labels[:, None], 0.0, -1e4))
    step = stepper(MIXTURE, rows, FreeForm(SEARCH), certain)
    theta = step(np.arange(number))
    np.testing.assert_allclose(
        theta["weights"], MIXTURE.concentration + np.bincount(labels, minlength=3), rtol=1e-10
    )
    mean, kappa, shape, rate = NormalGamma(**theta["components"]).moments()
    for k in range(3):  # Murphy (2007), "Conjugate Bayesian analysis of the Gaussian", section 3
        own = rows[labels == k]
        n, average = len(own), own.mean(0)
        np.testing.assert_allclose(kappa[k], MIXTURE.kappa + n, rtol=1e-10)
        np.testing.assert_allclose(shape[k], MIXTURE.shape + n / 2, rtol=1e-10)
        np.testing.assert_allclose(mean[k], n * average / (MIXTURE.kappa + n), rtol=1e-10)
        spread = ((own - average) ** 2).sum(0) / 2
        pull = MIXTURE.kappa * n * average**2 / (2 * (MIXTURE.kappa + n))
        np.testing.assert_allclose(rate[k], MIXTURE.rate + spread + pull, rtol=1e-10)


def test_one_whole_step_on_topics_adds_the_expected_counts_to_the_prior():
    rows = rows_of(TOPICS)
    step = stepper(TOPICS, rows)
    found = step(np.arange(NUM_DATA))["topics"]
    problem, _, state = start(TOPICS, rows, SVI)
    everything, theta = seen(rows), state.params.theta
    lam = jax.vmap(lambda x: problem.infer(state.params, x, jax.random.key(0)))(everything)
    expected = np.full(found.shape, TOPICS.eta)
    log_topics = TOPICS.log_topics(theta)
    for n in range(NUM_DATA):
        ids = np.asarray(everything.ids[n])
        phi = jax.nn.softmax(log_topics[ids] + Dirichlet(3).expected_log(lam[n]), axis=1)
        np.add.at(expected, ids, np.asarray(everything.counts[n][:, None] * phi))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("every", [2, 5])
@pytest.mark.parametrize("model", [TOPICS, MIXTURE], ids=["lda", "gaussian_mixture"])
def test_coordinate_ascent_never_lowers_the_bound(model, every):
    rows = rows_of(model, 50)
    whole = NaturalGradient(rate=1.0, delay=1.0, decay=0.0)
    problem, optimizers, state = start(
        model, rows, FreeForm(SEARCH), RobbinsMonro(0.0, 0.0, every), whole
    )
    loop = Loop(
        problem, optimizers, view_of(model), rows, jax.random.key(1), batch_size=50, log_every=1
    )
    bounds = np.concatenate([chunk.value + chunk.prior for chunk in loop.fit(state, 80)])
    # -KL of the globals / N is in it, so the rise is that of the whole bound.
    assert (np.diff(bounds) >= -1e-9 * abs(bounds[1:])).all()
    assert bounds[-1] - bounds[0] > 0.5


def test_steps_shrink_as_hoffman_has_them():
    optimizer = RobbinsMonro(kappa=0.7, tau=2.0, every=2).bind(Dirichlet(2))
    state = optimizer.init(jnp.zeros(1))
    moves = []
    for _ in range(6):
        update, state = optimizer.update(jnp.full(1, -1.0), state, None, num_data=10, batch_size=2)
        moves.append(float(update[0]))
    expected = [0.0, 10 * 3.0**-0.7, 0.0, 10 * 4.0**-0.7, 0.0, 10 * 5.0**-0.7]
    np.testing.assert_allclose(moves, expected, rtol=1e-12)


def test_stochastic_steps_come_near_the_bound_of_coordinate_ascent():
    rows, number = rows_of(MIXTURE, 200), 200
    problem, optimizers, state = start(
        MIXTURE, rows, SVI, RobbinsMonro(kappa=0.7, tau=1.0, every=1)
    )
    key, mixture_view = jax.random.key(1), view_of(MIXTURE)
    loop = Loop(problem, optimizers, mixture_view, rows, key, batch_size=20, log_every=10)
    *_, last = loop.fit(state, 400)
    theta = last.state.params.theta
    exact = np.asarray(jax.vmap(lambda x: MIXTURE.best_local_bound(theta, x))(jnp.asarray(rows)))
    found = exact.mean() + MIXTURE.log_prior(theta) / number
    problem, optimizers, state = start(MIXTURE, rows, SVI, WHOLE)
    loop = Loop(problem, optimizers, mixture_view, rows, key, batch_size=number, log_every=10)
    *_, last = loop.fit(state, 100)
    np.testing.assert_allclose(found, last.value[-1] + last.prior[-1], atol=0.01)


def test_whole_steps_on_part_of_the_rows_are_refused():
    step = stepper(MIXTURE, rows_of(MIXTURE), optimizer=WHOLE)
    with pytest.raises(ConfigError, match=r"Try train\.batch_size=null \(all 6 rows\)"):
        step(np.arange(3))


def test_a_bucket_of_lengths_is_one_compilation():
    rows, traced = rows_of(TOPICS, 60), []

    def counted(row, index, visit):
        traced.append(row.ids.shape)
        return view(row, index, visit)

    problem, optimizers, state = start(TOPICS, rows, SVI, RobbinsMonro(0.7, 1.0, 1))
    widths = make_buckets(rows, 10).widths
    key = jax.random.key(0)
    loop = Loop(problem, optimizers, counted, rows, key, batch_size=10, log_every=2)
    assert all(chunk.finite for chunk in loop.fit(state, 18))
    assert 1 < len(widths) <= 4
    assert sorted(traced) == [(width,) for width in widths]


def test_documents_that_are_streamed_to_the_device_give_the_same_numbers(tmp_path):
    rows = rows_of(TOPICS, 60)
    padded_step = 10 * 12 * sum(column.dtype.itemsize for column in (rows.ids, rows.counts))
    found = []
    for documents, budget in ((rows, math.inf), (mapped(rows, tmp_path), 2 * padded_step)):
        assert num_bytes(rows) > budget or budget == math.inf
        problem, optimizers, state = start(TOPICS, documents, SVI, RobbinsMonro(0.7, 1.0, 1))
        loop = Loop(
            problem, optimizers, view, documents, jax.random.key(0),
            batch_size=10, log_every=1, device_budget=budget,
        )  # fmt: skip
        values, topics = [], None
        for chunk in loop.fit(state, 18):
            values.extend(chunk.value)
            topics = np.asarray(chunk.state.params.theta["topics"])
        found.append((values, topics))
    assert isinstance(mapped(rows, tmp_path).ids.values, np.memmap)
    jax.tree.map(np.testing.assert_array_equal, *found)
