"""EM steps never lower the evidence, and end where maximum likelihood does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.optimizers.expectation_maximisation import ExpectationMaximisation

N, SIZE, D = 300, 5, 2
MODELS = {
    "shared noise": LinearGaussian(D, "shared", 1e-3),
    "noise of each": LinearGaussian(D, "diagonal", 1e-3),
    "shared scales": Mixture(3, "shared", 1e-2),
    "own scales": Mixture(3, "own", 1e-2),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N, SIZE)) * np.linspace(0.3, 1, SIZE)
    return jnp.asarray(rng.normal(size=(N, D)) @ rng.normal(size=(D, SIZE)) + noise + 3)


def begun(model, rows):
    """Return theta away from any optimum, evidence(theta), and climbed(number of steps)."""
    rng = np.random.default_rng(1)
    mean = (rows["value"] if isinstance(rows, dict) else rows).mean(0)
    if isinstance(model, LinearGaussian):
        scale = jnp.zeros(() if model.noise == "shared" else SIZE)
        weight = jnp.asarray(0.1 * rng.normal(size=(SIZE, D)))
        theta = {"weight": weight, "mean": mean, "log_scale": scale}
    else:
        means = mean + jnp.asarray(rng.normal(size=(3, SIZE)))
        scale = jnp.zeros(SIZE if model.scales == "shared" else (3, SIZE))
        theta = {"logits": jnp.zeros(3), "mean": means, "log_scale": scale}

    def evidence(theta):
        return jax.vmap(model.log_evidence, (None, 0))(theta, rows).mean()

    def climbed(number):
        """Return theta after so many steps, and the evidence before each."""

        def step(theta, _):
            return model.em_step(theta, rows), evidence(theta)

        return jax.lax.scan(step, theta, length=number)

    return theta, evidence, climbed


@pytest.mark.parametrize("name", MODELS)
def test_no_step_lowers_the_evidence_and_the_end_is_stationary(name, rows):
    _, evidence, climbed = begun(MODELS[name], rows)
    theta, course = climbed(600)
    assert np.diff(course).min() > -1e-12
    gradient = jax.grad(evidence)(theta)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-3


def test_probabilistic_principal_components_are_reached(rows):
    """Tipping & Bishop (1999), equations 7 and 8: by the eigenvalues of the sample covariance."""
    _, evidence, climbed = begun(MODELS["shared noise"], rows)
    theta, _ = climbed(60)
    values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    left = values[D:].mean()
    logs = np.log(values[:D]).sum() + (SIZE - D) * np.log(left)
    best = -0.5 * (SIZE * np.log(2 * np.pi) + logs + SIZE)
    assert abs(float(evidence(theta)) - best) < 1e-8
    assert abs(float(jnp.exp(2 * theta["log_scale"])) - left) < 1e-6


@pytest.mark.parametrize("name", ["shared noise", "noise of each"])
def test_missing_entries_are_left_out_and_a_column_never_seen_stays(name, rows):
    mask = jnp.asarray(np.random.default_rng(2).random((N, SIZE)) > 0.3, float).at[:, 4].set(0)
    first, _, climbed = begun(MODELS[name], {"mask": mask, "value": mask * rows})
    theta, course = climbed(100)
    assert np.diff(course).min() > -1e-12
    assert np.array_equal(theta["weight"][4], first["weight"][4])
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(theta))


def test_the_floor_holds(rows):
    model = LinearGaussian(D, "diagonal", 0.5)
    theta, _ = begun(model, rows)[2](50)
    assert float(jnp.exp(theta["log_scale"]).min()) == pytest.approx(0.5)


def test_the_optimiser_takes_the_step_on_all_rows(rows):
    model = MODELS["shared noise"]
    theta, _, climbed = begun(model, rows)
    transform = ExpectationMaximisation().bind(None)
    asked = {"model": model, "x": rows, "batch_size": N}
    update, _ = transform.update(theta, transform.init(theta), theta, num_data=N, **asked)
    expected, _ = climbed(1)
    for name, leaf in expected.items():
        np.testing.assert_allclose(theta[name] + update[name], leaf, rtol=1e-12)
