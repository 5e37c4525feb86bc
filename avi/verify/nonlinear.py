"""Cases without a normal joint: mixture, counts, and decoders in one and two dimensions."""

from functools import cache
from typing import Any

import numpy as np
import optax

from avi.evidence.exact import Exact
from avi.evidence.iwae import ImportanceSampling
from avi.evidence.quadrature import Quadrature
from avi.families.categorical import Categorical
from avi.families.gaussian import DiagonalGaussian
from avi.inference.amortized import Amortized
from avi.likelihoods.bernoulli import Bernoulli
from avi.likelihoods.gaussian import Gaussian
from avi.models.mixture import Mixture
from avi.models.poisson_lognormal import PoissonLogNormal
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.objectives import elbo
from avi.refine.ascent import Ascent
from avi.types import Lam
from avi.verify.bench import Bench, natural, stored

GRID = Quadrature(401)
AVERAGED = Ascent(optax.adam(0.03, b2=0.99), steps=1000, average=True)
SEARCH = elbo.AnalyticKL(64, True)
SCORE = elbo.AnalyticKL(1_000_000, True)


def mixture() -> dict[str, Any]:
    """O5: a finite latent by enumeration."""
    problem = stored("mixture").problem
    theta = {
        "logits": problem["logits"],
        "mean": problem["mean"],
        "log_scale": np.log(problem["scale"]),
    }
    bench, family = Bench(Mixture(3, "shared", 1e-2), theta, problem["x"]), Categorical(3)
    enumerated = elbo.Enumerated()

    def gap(lams: np.ndarray) -> float:
        bounds = bench.bounds_at(family, lams, enumerated)
        return float(np.mean(bench.evidence(Exact(), family) - bounds))

    def encoder() -> float:
        mode = Amortized(MLP((), "tanh", 1.0))
        params = bench.fitted(family, mode, num_steps=1500, start=theta, objective=enumerated)
        bounds = bench.bounds(family, mode, params.phi, enumerated)
        return float(np.mean(bench.evidence(Exact(), family) - bounds))

    return {
        "evidence": lambda: bench.evidence(Exact(), family).mean(),
        "gap of the uniform q": lambda: gap(np.zeros((len(bench.points), 3))),
        "gap after one natural step": lambda: gap(bench.one_natural_step(family, enumerated)),
        "gap, affine encoder": encoder,
    }


def counts() -> dict[str, Any]:
    """O6: Poisson with a log-normal rate, its ELBO without Monte Carlo."""
    problem = stored("counts").problem
    theta = {"weight": np.ones((1, 1)), "mean": problem["offset"][None]}
    bench = Bench(PoissonLogNormal(1), theta, problem["x"][None, None])
    family, closed = DiagonalGaussian(1), elbo.ClosedFormElbo()
    refine = Ascent(natural(0.5), steps=200, average=False)

    @cache
    def best() -> np.ndarray:
        return bench.lams(family, refine, closed)

    return {
        "evidence": lambda: bench.evidence(GRID, family, best()[0])[0],
        "bound at lam*": lambda: bench.bounds_at(family, best(), closed)[0],
        "mean at lam*": lambda: best()[0, 0],
        "scale at lam*": lambda: np.exp(best()[0, 1]),
    }


def _decoder_cases(bench: Bench, size: int) -> dict[str, Any]:
    family = DiagonalGaussian(size)

    @cache
    def best() -> tuple[float, float]:
        lams = bench.lams(family, AVERAGED, SEARCH)
        evidence = bench.evidence(GRID, family, lams[0])[0]
        return evidence, bench.bounds_at(family, lams, SCORE)[0]

    return {
        "evidence": lambda: best()[0],
        "bound at lam*": lambda: best()[1],
        "gap": lambda: best()[0] - best()[1],
    }


def sigmoid() -> dict[str, Any]:
    """O6: one latent, an affine decoder."""
    problem = stored("sigmoid").problem
    layer = {"kernel": problem["weight"][None, :], "bias": problem["bias"]}
    theta = {"decoder": {"layer0": layer}, "likelihood": {}}
    model = VAE(1, MLP((), "tanh", 1.0), Bernoulli())
    return _decoder_cases(Bench(model, theta, problem["x"][None]), 1)


def tanh() -> dict[str, Any]:
    """O6: two latents, a hidden layer."""
    problem = stored("tanh").problem
    first = {"kernel": problem["first"], "bias": np.zeros(3)}
    second = {"kernel": problem["second"], "bias": problem["bias"]}
    theta = {"decoder": {"layer0": first, "layer1": second}, "likelihood": {}}
    model = VAE(2, MLP((3,), "tanh", 1.0), Bernoulli())
    return _decoder_cases(Bench(model, theta, problem["x"][None]), 2)


def relu() -> dict[str, Any]:
    """O6: a non-linear decoder whose evidence is a sum over its linear pieces."""
    problem = stored("relu").problem
    first = {"kernel": problem["inner"][None, :], "bias": problem["kink"]}
    second = {"kernel": problem["outer"], "bias": problem["bias"]}
    theta = {"decoder": {"layer0": first, "layer1": second}, "likelihood": {}}
    likelihood = Gaussian(float(problem["scale"]), learn_scale=False, floor=0.01)
    bench = Bench(VAE(1, MLP((4,), "relu", 1.0), likelihood), theta, problem["x"][None])
    family = DiagonalGaussian(1)
    importance = ImportanceSampling(num_samples=20_000, widening=1.3, prior_share=0.5)

    @cache
    def lam() -> Lam:
        return bench.lams(family, AVERAGED, SEARCH)[0]

    return {
        "evidence, quadrature": lambda: bench.evidence(Quadrature(4001), family, lam())[0],
        "evidence, importance": lambda: bench.evidence(importance, family, lam())[0],
    }
