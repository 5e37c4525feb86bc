"""What `avi infer` says on request, against a posterior that is known in closed form."""

import dataclasses

import jax
import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, SIZE, make_case

from avi.datasets.simulated import MissingEntries
from avi.errors import ConfigError
from avi.families.categorical import Categorical
from avi.families.gaussian import DiagonalGaussian
from avi.gap.acceptance import Judged, settings_for
from avi.gap.decomposition import weights_at
from avi.gap.elsewhere import for_rows
from avi.models.mixture import Mixture
from avi.objectives.elbo import Elbo
from avi.population import Points
from avi.problem import Problem, fit
from avi.run.requested import Rows, draws_of, requested, require
from avi.settings import UNJUDGED

WANTED = dataclasses.replace(UNJUDGED, certify=True, decoded=True, psis=True, linear_response=True)


@pytest.fixture(scope="module")
def found():
    """The best q of 30 rows, one of them far from its best, and what is asked for."""
    case = make_case(DiagonalGaussian(LATENT))
    weight = 0.6 * case.params.theta["weight"]
    params = case.params._replace(theta=case.params.theta | {"weight": weight})
    model, theta = case.experiment.problem.model, params.theta
    rows = np.asarray(jax.random.normal(jax.random.key(5), (30, SIZE)), np.float32)
    posterior = [model.posterior(theta, row) for row in rows]
    mean, precision = (np.array(part, np.float64) for part in zip(*posterior, strict=True))
    own = np.diagonal(precision, axis1=1, axis2=2) ** -0.5
    lams = np.concatenate([mean, np.log(own)], axis=1)
    lams[0, :LATENT] += 3.0
    points = Points(rows, len(case.splits.train) + np.arange(30))

    def view(row, number, visit):
        return row

    context = for_rows(
        case.experiment,
        params,
        case.splits,
        points,
        view=view,
        settings=dataclasses.replace(settings_for(SETTINGS, WANTED), width=30),
        on_progress=lambda what, share: None,
    )
    nothing, certified = np.zeros(30), np.arange(30) > 0
    judged = Judged(
        lam=lams,
        source=("accepted",) * 30,
        flags=("",) * 30,
        certificate=nothing,
        certificate_se=nothing,
        certified=certified,
        khat=weights_at(context, points, lams).khat,
        ms=nothing,
        gains=nothing[:0],
        seconds=0.0,
    )
    problem = case.experiment.problem
    asked = Rows(
        problem, params, points, view, lams, lams[:, :LATENT], (context, judged), jax.random.key(7)
    )
    return asked, judged, requested(asked, WANTED), mean, np.linalg.inv(precision)


def test_importance_sampling_corrects_the_deviation_that_mean_field_loses(found):
    _, judged, more, mean, covariance = found
    exact = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    allowed = np.isfinite(more["psis_mean"]).all(axis=1)
    assert not allowed[0]
    assert allowed.sum() > 20
    np.testing.assert_array_equal(allowed, judged.khat < 2 / 3)
    # Of 1000 draws at least a fifth count where k̂ allows it: z beyond 5 in 2 of 10 million.
    error = exact / np.sqrt(200)
    assert np.all((np.abs(more["psis_mean"] - mean) < 5 * error)[allowed])
    ratio = more["psis_standard_deviation"] / exact
    assert np.abs(ratio[allowed].mean() - 1) < 0.05


def test_linear_response_is_the_exact_deviation_where_nothing_is_left_to_gain(found):
    _, judged, more, _, covariance = found
    exact = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    response = more["linear_response_standard_deviation"]
    np.testing.assert_array_equal(np.isfinite(response).all(axis=1), judged.certified)
    np.testing.assert_allclose(response[judged.certified], exact[judged.certified], rtol=2e-3)


def test_decoded_means_are_those_of_the_model(found):
    asked, _, more, _, _ = found
    theta = asked.params.theta
    expected = asked.mean @ np.asarray(theta["weight"]).T + np.asarray(theta["mean"])
    np.testing.assert_allclose(more["decoded"], expected, rtol=1e-4, atol=1e-5)


def test_draws_are_of_q(found):
    asked = found[0]
    keys = jax.random.split(jax.random.key(0), (2, 20_000))
    drawn = draws_of(asked.problem, asked.params, asked.lam[:2], keys)
    mean, deviation = asked.lam[:2, :LATENT], np.exp(asked.lam[:2, LATENT:])
    # A z-score beyond 5 happens in 6 of 10 million.
    assert np.abs((drawn.mean(axis=1) - mean) / deviation).max() < 5 / np.sqrt(20_000)
    assert np.abs(drawn.std(axis=1) / deviation - 1).max() < 5 / np.sqrt(40_000)


@pytest.mark.parametrize("key", ["decoded", "psis", "linear_response", "impute"])
def test_what_a_model_or_family_does_not_have_is_refused_by_its_key(key):
    model, family = Mixture(2, "own", 1e-3), Categorical(2)
    inference = make_case(DiagonalGaussian(LATENT)).experiment.problem.inference
    problem = Problem(model, family, inference, fit(Elbo(1, antithetic=False), model, family))
    data = MissingEntries(10, 5, 5, 4, 2, 0.5, 0.3, 0)
    nothing = dict.fromkeys(("decoded", "psis", "linear_response"), False)
    require(problem, data, dataclasses.replace(WANTED, **nothing))
    with pytest.raises(ConfigError, match=f"{key}=true: "):
        require(problem, data, dataclasses.replace(WANTED, **nothing | {key: True}))
