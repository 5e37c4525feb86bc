"""One word changes where the posterior of a document or a row comes from."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from conjugate.corpora import NUM_TERMS, corpus, seen
from conjugate.test_infer import lines

from avi.config.compose import compose
from avi.engine.loop import Loop
from avi.randomness import key_for
from avi.run.remarks import cold_start
from avi.run.session import open_session

MODES = ("svi", "cavi", "free_form", "amortized", "semi_amortized")


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Return the words that name a small corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "counts").write_text("".join(lines(seen(corpus(100)))))
    (folder / "terms").write_text("".join(f"word{n}\n" for n in range(NUM_TERMS)))
    paths = f"dataset.path={folder}/counts dataset.vocabulary={folder}/terms"
    return f"model=lda model.latent_size=3 dataset=corpus {paths}"


def opened(words, *more):
    return open_session(compose([*words.split(), "precision=float64", *more])[0].tree)


def trained(session, num_steps):
    """Return what the steps of a session meet, and where they end."""
    experiment = session.experiment
    loop = Loop(
        experiment.problem, session.optimizers, experiment.dataset.view, session.splits.train,
        key_for(0, "train"), batch_size=session.batch_size, log_every=10,
    )  # fmt: skip
    chunks = list(loop.fit(session.initial_state(), num_steps))
    return np.concatenate([chunk.value + chunk.prior for chunk in chunks]), chunks[-1].state


@pytest.mark.parametrize("mode", MODES)
def test_a_topic_model_learns_under_every_mode_without_another_word(mode, documents):
    session = opened(documents, f"inference={mode}")
    points, evaluator = session.points("train"), session.evaluator(1)
    met, state = trained(session, 20)

    def mean_bound(state):
        return evaluator.bounds(state.params, points, jax.random.key(0)).mean()

    assert np.isfinite(met).all()
    assert mean_bound(state) > mean_bound(session.initial_state())


def test_all_rows_are_one_batch_and_no_step_of_coordinate_ascent_lowers_the_bound(documents):
    session = opened(documents, "inference=cavi")
    assert session.batch_size == session.spec.num_data
    assert session.steps_per_epoch == 1
    met, _ = trained(session, 30)
    assert (np.diff(met) > -1e-9 * np.abs(met[1:])).all()


def test_a_bound_of_documents_is_called_by_what_it_is_under(documents):
    def name(*words):
        return opened(documents, *words).experiment.problem.bound_name

    names = name(), name("model.topics=mean"), name("objective=score", "objective.num_samples=2")
    assert names == ("ELBO under q(topics)", "ELBO at mean topics", "ELBO")


@pytest.mark.parametrize("model", ["lda", "gaussian_mixture", "vae"])
def test_the_word_brings_the_components_and_the_settings_of_its_mode(model):
    def tree(mode, *words):
        return compose([f"model={model}", f"inference={mode}", *words])[0].tree

    assert tree("svi")["inference"]["refine"]["_target_"] == "avi.refine.auto.Auto"
    assert tree("svi", "inference.refine.steps=7")["inference"]["refine"]["steps"] == 7
    assert tree("svi")["train"]["batch_size"] == 64
    assert tree("cavi")["train"]["batch_size"] is None
    assert tree("cavi")["optimizer"]["theta"]["kappa"] == 0
    typed = tree("cavi", "train.batch_size=50", "train.epochs=2")["train"]
    assert (typed["batch_size"], typed["epochs"]) == (50, 2)


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["inference=amortized"], True),
        (["inference=semi_amortized"], True),
        (["inference=amortized", "train.start=run"], False),
        (["inference=amortized", "train.freeze=theta"], False),
        (["inference=svi"], False),
        (["inference=free_form"], False),
    ],
)
def test_an_encoder_that_starts_with_its_topics_is_told_to_start_from_svi(words, warned, documents):
    session = opened(documents, *words)
    experiment = session.experiment
    cold = replace(experiment, train=replace(experiment.train, start=None))
    sentences = cold_start(session, session._replace(experiment=cold).initial_state())
    assert bool(sentences) == warned
    assert all("inference=svi" in sentence for sentence in sentences)
