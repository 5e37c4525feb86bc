"""Modes that take local steps keep what the encoder alone reaches, whatever the data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inference.test_modes import KEY, X, problem_of

from avi.inference import refined
from avi.inference.refined import _steady

ROOT = Path(__file__).resolve().parents[2]
QUIET = ["gap.num_points=0", "train.report=false", "overwrite=true"]
TABLES = {"breast_cancer": "load_breast_cancer", "wine": "load_wine"}
MODES = ["semi_amortized", "iterative", "hypernetwork", "svi", "free_form"]


class Steps:
    """Steps whose derivative in lam is `growth`, whatever they do."""

    def __init__(self, growth):
        self.growth = growth

    def __call__(self, local, lam, key):
        return self.growth * lam + local.target.theta.sum() + 0 * jax.random.uniform(key)


@pytest.mark.parametrize(
    ("growth", "of_lam", "of_theta"),
    [(0.5, 0.5, 1.0), (-2.9, -2.9, 1.0), (40.0, 1.0, 0.0), (np.nan, 1.0, 0.0)],
)
def test_a_gradient_that_grows_through_the_steps_goes_round_them(growth, of_lam, of_theta):
    class Target:
        theta = jnp.zeros(2)

    problem = problem_of("amortized")
    local = problem.local(jnp.zeros(2), X)

    def end(lam, theta):
        target = local.target._replace(theta=theta)
        return _steady(Steps(growth), local._replace(target=target), lam, KEY)[0]

    found = jax.grad(end, argnums=(0, 1))(jnp.ones(3), jnp.zeros(2))
    np.testing.assert_allclose(found[0], [of_lam, 0, 0])
    np.testing.assert_allclose(found[1], [of_theta, of_theta])
    assert refined.GROWTH >= 1


@pytest.fixture(scope="module")
def bound_on(tmp_path_factory):
    """Return the function from data and mode to the test bound and its error, with defaults."""
    folder = tmp_path_factory.mktemp("modes")
    found = {}

    def run(data, mode):
        if (data, mode) in found:
            return found[data, mode]
        words = [f"dataset={data}"]
        if data == "linear_gaussian":
            words.append(f"model={data}")
        if data in TABLES:
            import sklearn.datasets

            rows = getattr(sklearn.datasets, TABLES[data])().data
            np.save(folder / f"{data}.npy", (rows - rows.mean(0)) / rows.std(0))
            path = f"dataset.path={folder}/{data}.npy"
            words = ["dataset=file", path, "dataset.support=real", "likelihood=gaussian"]
        # In a process that compiles as a user's does: here most of the time is in the steps.
        command = ["train", *words, f"inference={mode}", f"output={folder}/run", *QUIET]
        subprocess.run(
            [sys.executable, "-m", "avi", *command],
            env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": ""},
            capture_output=True,
            check=True,
        )
        last = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])
        found[data, mode] = last["value"], last["standard_error"]
        return found[data, mode]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("data", [*TABLES, "digits", "linear_gaussian"])
def test_no_mode_ends_below_the_encoder_alone(bound_on, data, mode):
    encoder, error = bound_on(data, "amortized")
    assert bound_on(data, mode)[0] > encoder - error
