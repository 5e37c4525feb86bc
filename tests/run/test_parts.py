"""What the ELBO is made of: an identity, a closed form, and what needs no latent at all."""

import dataclasses

import jax
import numpy as np
import pytest

from avi.abilities import StandardNormalPrior
from avi.config.compose import compose
from avi.objectives.elbo import AnalyticKL
from avi.randomness import key_for
from avi.run.parts import _remarks, independent, lines, split_parts
from avi.run.session import open_session

SMALL = "model=vae dataset=digits model.latent_size=3 model.decoder.widths=[8]".split()


@pytest.fixture(scope="module")
def session():
    return open_session(compose([*SMALL, "inference.network.widths=[8]"])[0].tree)


def test_the_bound_is_reconstruction_less_kl(session):
    """The bound by an exact KL and the mean of log p(x | z) on the draws of the same key."""
    params, points = session.initial_state().params, session.points("test", 40)
    problem = session.experiment.problem
    exact = dataclasses.replace(problem, objective=AnalyticKL(64, True))
    with_exact = session._replace(experiment=dataclasses.replace(session.experiment, problem=exact))
    key = key_for(session.experiment.seed, "evaluate")
    bound = float(with_exact.evaluator(64).bounds(params, points, key).mean())
    parts = split_parts(with_exact, params, points, bound)
    assert parts.reconstruction - parts.kl == pytest.approx(bound)
    lams = with_exact.evaluator().lams(params, points, key)
    means, log_scales = np.split(lams, 2, axis=1)
    kl = 0.5 * (np.exp(2 * log_scales) + means**2 - 1) - log_scales
    assert parts.kl == pytest.approx(kl.sum(1).mean(), rel=1e-5)
    np.testing.assert_allclose(parts.kl_of_each, kl.mean(0), rtol=1e-4, atol=1e-6)
    assert sum(parts.kl_of_each) == pytest.approx(parts.kl, rel=1e-5)  # a diagonal family
    assert parts.active == (means.var(0) > 0.01).sum()
    assert parts.active_by_kl == (kl.mean(0) > 0.01).sum()


def test_a_divergence_by_draws_is_the_one_that_is_known(session, monkeypatch):
    """4.9 standard errors of the draws: false once in a million."""
    params, points = session.initial_state().params, session.points("test", 40)
    exact = split_parts(session, params, points, -20.0)
    monkeypatch.setattr("avi.run.parts.offers", lambda need, *_: need is StandardNormalPrior)
    drawn = split_parts(session, params, points, -20.0)
    assert 0 < drawn.kl_se < 0.05
    assert abs(drawn.kl - exact.kl) < 4.9 * drawn.kl_se
    assert drawn.reconstruction - drawn.kl == pytest.approx(-20.0)
    assert drawn.active == exact.active
    assert lines({"test": drawn})[0].endswith(f"{exact.active} latents in use")
    assert " ± " in lines({"test": drawn})[0]


def test_independent_bits_are_scored_by_their_shares(session):
    train = np.asarray(session.spec.sample)
    view = jax.vmap(session.experiment.dataset.fixed().view, in_axes=(0, 0, None))
    points = session.points("test", 1000)
    test = np.asarray(view(points.rows, points.ids, 0))
    share = (train.sum(0) + 0.5) / (len(train) + 1)
    expected = (test * np.log(share) + (1 - test) * np.log(1 - share)).sum(1).mean()
    assert independent(session) == pytest.approx(expected, rel=1e-6)


def test_coordinates_that_do_not_vary_have_no_density(session):
    density = dataclasses.replace(session.experiment.problem.model)
    object.__setattr__(density, "likelihood", type("Real", (), {"support": "real"})())
    problem = dataclasses.replace(session.experiment.problem, model=density)
    changed = session._replace(experiment=dataclasses.replace(session.experiment, problem=problem))
    assert np.isnan(independent(changed))  # some pixels are always white


@pytest.mark.parametrize(
    ("kl", "bound", "alone", "words"),
    [
        (0.01, -10.0, -12.0, ["next to nothing"]),
        (3.0, -12.0, -11.0, ["not above the log p(x) of independent coordinates, -11.00"]),
        (3.0, -10.0, -12.0, []),
        (3.0, -10.0, np.nan, []),
    ],
)
def test_latents_that_carry_nothing_are_remarked(session, kl, bound, alone, words):
    params, points = session.initial_state().params, session.points("test", 5)
    parts = dataclasses.replace(split_parts(session, params, points, bound), kl=kl)
    said = _remarks({"test": parts}, {"test": bound}, alone)
    assert len(said) == len(words)
    assert all(word in sentence for word, sentence in zip(words, said, strict=True))
