"""Every component that a yaml offers: it builds, it is a value, and it fits or says why."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.abilities import given
from avi.config import catalog
from avi.config.build import load_experiment
from avi.config.compose import compose
from avi.datasets.base import describe
from avi.engine.step import init_state, make_step
from avi.errors import ConfigError
from avi.randomness import key_for

GROUPS = catalog.groups()
# A small data set that each model can be trained on; a new model adds its line.
DATA = {
    "vae": ("dataset=digits", "model.decoder.widths=[4]"),
    "dlgm": (
        "dataset=digits",
        "model.layer_sizes=[2,3]",
        "model.decoder.widths=[4]",
        "model.transition.widths=[4]",
    ),
    "linear_gaussian": ("dataset=missing_entries",),
    "mixture": ("dataset=linear_gaussian",),
    "gaussian_mixture": ("dataset=linear_gaussian", "model.latent_size=3"),
    "poisson_lognormal": ("dataset=poisson_lognormal",),
    "normal_hierarchy": ("dataset=normal_hierarchy",),
    "state_space": ("dataset=state_space",),
    "numpyro": (
        "dataset=linear_gaussian",
        "model.function=plugins.numpyro_functions.factors",
        "model.latent_size=2",
    ),
    "lda": ("dataset=corpus", "model.latent_size=2"),
}
BATCH = 2


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return the path of a few documents."""
    path = tmp_path_factory.mktemp("corpus") / "documents.dat"
    path.write_text("2 0:1 1:3\n2 1:2 2:1\n1 0:4\n3 0:1 1:1 2:1\n" * 5)
    return path


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVI_DATA_DIR", str(Path(tmp_path)))
    monkeypatch.setenv("AVI_PLUGINS", "plugins")


def experiment_of(model, corpus, *words):
    """Return the experiment that a person gets for these words."""
    data = DATA[model]
    if "dataset=corpus" in data:
        data = (*data, f"dataset.path={corpus}")
    (job,) = compose([f"model={model}", *data, f"train.batch_size={BATCH}", *words])
    return load_experiment({key: job.tree[key] for key in job.tree})


@cache
def loaded(dataset):
    """Return the splits of a data set and what a model may know of them."""
    splits = dataset.load()
    return splits, describe(dataset, splits)


def start_of(experiment):
    """Return the parameters that training begins with."""
    _, spec = loaded(experiment.dataset)
    return experiment.problem.init(key_for(0, "init"), spec)


def check_step(experiment):
    """Trace one training step without running it: shapes and types come back as they went in."""
    splits, spec = loaded(experiment.dataset)
    problem, optimizers = experiment.problem, experiment.optimizers
    state = jax.eval_shape(lambda: init_state(problem, optimizers, start_of(experiment)))
    step = make_step(problem, optimizers, experiment.dataset.view, spec.num_data)
    rows = jax.tree.map(jnp.asarray, splits.train)
    index = np.arange(BATCH, dtype=np.int32)
    after, metrics = jax.eval_shape(step, state, rows, index, key_for(0, "train"))

    def types(tree):
        return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]

    assert types(after) == types(state)
    assert not any(weak for _, _, weak in types(state))
    assert metrics.value.shape == ()


def refusal(model, corpus, *words):
    """Return the sentence that refuses a combination, None if it is accepted."""
    try:
        experiment_of(model, corpus, *words)
    except ConfigError as error:
        return str(error)
    return None


def says_what_to_type(sentence):
    return "Try " in sentence or "try " in sentence


def runs_or_says_what_to_type(model, corpus, *words):
    """Check that a combination trains, or is refused in a sentence with a way out."""
    sentence = None
    try:
        check_step(experiment_of(model, corpus, *words))
    except ConfigError as error:
        sentence = str(error)
    assert sentence is None or says_what_to_type(sentence), sentence


def test_every_model_has_data_to_be_checked_on():
    assert set(DATA) == set(GROUPS["model"])


@pytest.mark.parametrize("model", DATA)
def test_a_model_simulates_scores_and_differentiates_what_it_is_given(model, corpus):
    experiment = experiment_of(model, corpus)
    problem, (_, spec) = experiment.problem, loaded(experiment.dataset)
    check_step(experiment)
    assert hash(problem) == hash(experiment_of(model, corpus).problem)

    @jax.jit
    def looked_at():
        params, lam = start_of(experiment), problem.family.init()
        family = given(problem.family, params.psi)

        def value(theta):
            local = problem.local(theta, spec.example, params.psi)
            return local.bound(lam, jax.random.key(0)).value

        scored = jax.value_and_grad(value)(params.theta)
        moments = family.mean(lam), family.standard_deviation(lam)
        return lam, scored, problem.model.log_prior(params.theta), moments

    lam, (bound, gradient), log_prior, (mean, deviation) = looked_at()
    assert lam.shape == (problem.family.num_params,)
    assert np.isfinite(bound)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert log_prior.shape == ()
    assert mean.shape == deviation.shape


@pytest.mark.slow
@pytest.mark.parametrize("inference", GROUPS["inference"])
@pytest.mark.parametrize("model", DATA)
def test_a_model_trains_under_a_mode_or_says_what_to_type(model, inference, corpus):
    runs_or_says_what_to_type(model, corpus, f"inference={inference}")


@pytest.mark.slow
@pytest.mark.parametrize("objective", GROUPS["objective"])
@pytest.mark.parametrize("model", DATA)
def test_a_model_trains_under_an_objective_or_says_what_to_type(model, objective, corpus):
    runs_or_says_what_to_type(model, corpus, f"objective={objective}")


@pytest.mark.slow
@pytest.mark.parametrize("group", ["family", "refine", "evidence"])
@pytest.mark.parametrize("model", DATA)
def test_a_model_takes_every_choice_of_a_group_or_says_what_to_type(model, group, corpus):
    sentences = {name: refusal(model, corpus, f"{group}={name}") for name in GROUPS[group]}
    assert not all(sentences.values())
    silent = {
        name: sentence
        for name, sentence in sentences.items()
        if sentence is not None and not says_what_to_type(sentence)
    }
    assert silent == {}
