"""A linear-Gaussian experiment whose gaps are known in closed form, at several scales."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from avi.datasets.linear_gaussian import LinearGaussian as Rows
from avi.evidence.exact import Exact
from avi.experiment import Experiment, make_experiment
from avi.families.gaussian import FullRankGaussian
from avi.inference.amortized import Amortized
from avi.models.linear_gaussian import LinearGaussian
from avi.networks.mlp import MLP
from avi.objectives.elbo import Elbo
from avi.refine.ascent import Ascent
from avi.settings import GapSettings, TrainSettings
from avi.types import Params, Splits

SIZE, LATENT = 6, 3
SETTINGS = GapSettings(
    num_points=40,
    splits=("train", "test"),
    num_draws=400,
    search_draws=16,
    width=16,
    budget=40000,
    audit=0.0,
    tolerance=0.01,
    half_width=None,
    frontier=0,
    simulated=0,
    strict=False,
    seconds=None,
)
TRAINING = TrainSettings(
    epochs=1,
    batch_size=8,
    start=None,
    freeze=None,
    log_every=1,
    eval_every=0,
    eval_points=0,
    eval_draws=1,
    save_every=1,
    keep_last=1,
    report=False,
)


class Case(NamedTuple):
    experiment: Experiment
    params: Params
    splits: Splits


def make_case(family, inference=None, phi=None, *, evidence=None, objective=None, seed=0) -> Case:
    """Return a fixed linear-Gaussian model under an encoder that is wrong by a known amount."""
    model = LinearGaussian(LATENT, "diagonal", 1e-3)
    experiment = make_experiment(
        model=model,
        family=family,
        inference=inference or Amortized(MLP((), "tanh", 0.2)),
        objective=objective or Elbo(1, antithetic=False),
        dataset=Rows(60, 5, 50, SIZE, LATENT, 0.7, seed=3),
        optimizers=Params(optax.adam(1e-3), optax.adam(1e-3)),
        refine=Ascent(optax.adam(0.03, b2=0.99), steps=100, average=True),
        evidence=evidence or Exact(),
        train=TRAINING,
        gap=SETTINGS,
        seed=seed,
        device="cpu",
        device_budget=4e9,
        precision="float32",
    )
    weight = jax.random.normal(jax.random.key(1), (SIZE, LATENT))
    theta = {
        "weight": weight,
        "mean": jnp.zeros(SIZE),
        "log_scale": jnp.linspace(-0.5, 0.3, SIZE),
    }
    if phi is None:
        phi = experiment.problem.inference.init(
            jax.random.key(2), family, jnp.zeros(SIZE), num_data=60
        )
    return Case(experiment, Params(theta, phi), experiment.dataset.load())


class Truth(NamedTuple):
    approximation: float
    amortization: np.ndarray  # per row of `lams`


def truth(case: Case, rows: np.ndarray, lams: np.ndarray) -> Truth:
    """Return A and M of methods O1 in float64, from the formulas, not from avi's own ELBO."""
    theta = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), case.params.theta)
    scaled = theta["weight"] / np.exp(theta["log_scale"])[:, None]
    precision = np.eye(LATENT) + scaled.T @ scaled
    means = (rows / np.exp(theta["log_scale"])) @ scaled @ np.linalg.inv(precision)
    log_determinant = np.linalg.slogdet(precision)[1]
    full = isinstance(case.experiment.problem.family, FullRankGaussian)
    best = 0.0 if full else 0.5 * (np.log(np.diag(precision)).sum() - log_determinant)
    total = []
    for lam, mean in zip(lams, means, strict=True):
        center, covariance = moments(lam, full)
        error = center - mean
        trace = np.trace(precision @ covariance)
        total.append(
            0.5
            * (
                trace
                + error @ precision @ error
                - LATENT
                - log_determinant
                - np.linalg.slogdet(covariance)[1]
            )
        )
    return Truth(best, np.array(total) - best)


def moments(lam: np.ndarray, full: bool) -> tuple[np.ndarray, np.ndarray]:
    if not full:
        return lam[:LATENT], np.diag(np.exp(2 * lam[LATENT:]))
    scale = np.diag(np.exp(lam[LATENT : 2 * LATENT]))
    scale[np.tril_indices(LATENT, -1)] = lam[2 * LATENT :]
    return lam[:LATENT], scale @ scale.T
