"""Cases in which (z, x) is normal: every gap has a closed form."""

from functools import cache, cached_property
from typing import Any

import jax
import numpy as np
import optax

from avi.evidence.exact import Exact
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.inference.refined import Refined
from avi.models.linear_gaussian import LinearGaussian
from avi.models.normal_hierarchy import NormalHierarchy
from avi.models.state_space import StateSpace
from avi.networks.mlp import MLP
from avi.objectives.elbo import AnalyticKL
from avi.refine.ascent import Ascent
from avi.types import Family, Inference
from avi.verify.bench import (
    KEY,
    NATURAL,
    Bench,
    Constant,
    EachPattern,
    FirstInputs,
    LowRank,
    OneAtATime,
    adam,
    natural,
    stored,
)

AFFINE = MLP((), "tanh", 1.0)
STEPS = 4000


def _bench(name: str, weight: str = "weight") -> Bench:
    problem = stored(name).problem
    theta = {
        "weight": problem[weight],
        "mean": problem["mean"],
        "log_scale": np.log(problem["scale"]),
    }
    return Bench(LinearGaussian(problem[weight].shape[1], "diagonal", 1e-6), theta, problem["x"])


class Decomposition:
    """The gaps of one bench under one family; lam* is found once."""

    def __init__(self, bench: Bench, family: Family) -> None:
        self.bench = bench
        self.family = family

    @cached_property
    def best(self) -> np.ndarray:
        """The bound at lam* of every observation."""
        return self.bench.bounds_at(self.family, self.bench.lams(self.family))

    @cached_property
    def evidence(self) -> np.ndarray:
        """Log p(x) of every observation."""
        return self.bench.evidence(Exact(), self.family)

    def approximation(self) -> float:
        """Return the mean of log p(x) - bound(lam*)."""
        return float(np.mean(self.evidence - self.best))

    def amortization(self, mode: Inference) -> float:
        """Return the mean of bound(lam*) - bound(mode) after training the mode alone."""
        params = self.bench.fitted(self.family, mode, num_steps=STEPS, start=self.bench.theta)
        return float(np.mean(self.best - self.bench.bounds(self.family, mode, params.phi)))


def linear() -> dict[str, Any]:
    """O1: fixed W, mu, Psi."""
    bench, turned = _bench("linear"), _bench("linear", "turned")
    diagonal, full = DiagonalGaussian(3), FullRankGaussian(3)
    gaps = Decomposition(bench, diagonal)
    member = stored("linear").problem["member"]
    lam = np.concatenate([member["mean"], member["log_scale"]])
    number = len(bench.points)

    def wide() -> float:
        lams = bench.lams(diagonal)
        return _loss(lams, lams + np.log(1.5) * np.array([0, 0, 0, 1, 1, 1]))

    def _loss(best: np.ndarray, other: np.ndarray) -> float:
        return float(np.mean(bench.bounds_at(diagonal, best) - bench.bounds_at(diagonal, other)))

    def one_step() -> float:
        lams = bench.one_natural_step(full)
        return float(np.mean(bench.evidence(Exact(), full) - bench.bounds_at(full, lams)))

    def table() -> float:
        mode = FreeForm(NATURAL)
        params = bench.fitted(diagonal, mode, num_steps=300, phi=natural(0.3), start=bench.theta)
        bounds = bench.bounds(diagonal, mode, params.phi)
        return float(np.mean(gaps.evidence - bounds))

    def semi_amortized() -> float:
        mode: Inference = Refined(
            Amortized(AFFINE), Ascent(natural(0.3), steps=3, average=False), backprop=True
        )
        return gaps.amortization(mode)

    return {
        "evidence": lambda: gaps.evidence.mean(),
        "evidence, rotated": lambda: turned.evidence(Exact(), diagonal).mean(),
        "elbo of a given q": lambda: bench.bounds_at(diagonal, np.tile(lam, (number, 1))).mean(),
        "gap, diagonal q": gaps.approximation,
        "gap, diagonal q, rotated": Decomposition(turned, diagonal).approximation,
        "gap, full-rank q": Decomposition(bench, full).approximation,
        "gap of 1.5 too wide q": wide,
        "one natural step, full rank": one_step,
        "variances of diagonal q": lambda: np.exp(2 * bench.lams(diagonal)[0, 3:]).sum(),
        "gap, free-form table": table,
        "gap, linear encoder": lambda: gaps.amortization(Amortized(AFFINE)),
        "gap, semi-amortized": semi_amortized,
        "gap, constant encoder": lambda: gaps.amortization(Amortized(Constant())),
        "gap, encoder of x1 x2": lambda: gaps.amortization(Amortized(FirstInputs(AFFINE, 2))),
        "gap, rank-1 encoder": lambda: gaps.amortization(Amortized(LowRank(1))),
    }


def missing() -> dict[str, Any]:
    """O1 with missing entries."""
    problem = stored("missing").problem
    theta = {
        "weight": problem["weight"],
        "mean": problem["mean"],
        "log_scale": np.log(problem["scale"]),
    }
    rows = {"mask": problem["mask"], "value": problem["value"]}
    bench = Bench(LinearGaussian(2, "diagonal", 1e-6), theta, rows)
    gaps = Decomposition(bench, DiagonalGaussian(2))
    patterns = tuple(tuple(row) for row in np.unique(problem["mask"], axis=0).tolist())
    return {
        "evidence": lambda: gaps.evidence.mean(),
        "gap, diagonal q": gaps.approximation,
        "gap, shared variances": lambda: gaps.amortization(Amortized(EachPattern(patterns))),
    }


def ppca() -> dict[str, Any]:
    """O2: training ends at the closed-form maximum."""
    problem = stored("ppca").problem
    rows, family = problem["x"], DiagonalGaussian(2)
    model = LinearGaussian(2, "shared", 1e-3)
    bench = Bench(model, {}, rows)

    @cache
    def amortized() -> tuple[float, float]:
        mode = Amortized(AFFINE)
        params = bench.fitted(
            family, mode, num_steps=STEPS, phi=adam(0.05, STEPS), theta=adam(0.05, STEPS)
        )
        trained = bench._replace(theta=params.theta)
        bound = trained.bounds(family, mode, params.phi, AnalyticKL(2000, True)).mean()
        return trained.evidence(Exact(), family).mean(), bound

    def free_form() -> float:
        params = bench.fitted(
            family,
            FreeForm(NATURAL),
            num_steps=STEPS,
            phi=natural(0.5),
            theta=adam(0.05, STEPS),
        )
        return bench._replace(theta=params.theta).evidence(Exact(), family).mean()

    @cache
    def collapsed() -> tuple[float, float]:
        wide, narrow = LinearGaussian(4, "shared", 1e-3), DiagonalGaussian(4)
        start = {
            "weight": 0.1 * jax.random.normal(KEY, (5, 4)),
            "mean": rows.mean(axis=0),
            "log_scale": np.log(problem["fixed_scale"]),
        }
        labels = {"weight": "learn", "mean": "learn", "log_scale": "keep"}
        kept = {"learn": adam(0.05, STEPS), "keep": optax.set_to_zero()}
        fixed = Bench(wide, {}, rows)
        params = fixed.fitted(
            narrow,
            Amortized(AFFINE),
            num_steps=STEPS,
            phi=adam(0.05, STEPS),
            theta=optax.partition(kept, labels),
            start=start,
        )
        used = np.linalg.norm(params.theta["weight"], axis=0) > 0.1
        evidence = fixed._replace(theta=params.theta).evidence(Exact(), narrow)
        return evidence.mean(), float(used.sum())

    return {
        "evidence, linear encoder": lambda: amortized()[0],
        "bound, linear encoder": lambda: amortized()[1],
        "evidence, free-form table": free_form,
        "evidence, fixed noise": lambda: collapsed()[0],
        "units in use of 4": lambda: collapsed()[1],
    }


def hierarchy() -> dict[str, Any]:
    """O3: Normal-Normal."""
    problem = stored("hierarchy").problem
    model = NormalHierarchy(5, float(problem["prior_scale"]))
    rows = {"scale": problem["scale"], "value": problem["value"]}
    bench = Bench(model, {"log_between": np.log(problem["between"])}, rows)
    return {
        "evidence": lambda: bench.evidence(Exact(), DiagonalGaussian(5)).mean(),
        "gap, diagonal q": Decomposition(bench, DiagonalGaussian(5)).approximation,
        "gap, full-rank q": Decomposition(bench, FullRankGaussian(5)).approximation,
    }


def sequence() -> dict[str, Any]:
    """O7: the state space."""
    problem = stored("sequence").problem
    theta = {
        "arctanh_persistence": np.arctanh(problem["persistence"]),
        "log_scale": 0.5 * np.log(problem["noise"]),
    }
    bench = Bench(StateSpace(12), theta, problem["x"])
    gaps = Decomposition(bench, DiagonalGaussian(12))
    return {
        "evidence": lambda: gaps.evidence.mean(),
        "gap, diagonal q": gaps.approximation,
        "gap, full-rank q": Decomposition(bench, FullRankGaussian(12)).approximation,
        # The best variances do not depend on x: an affine encoder of the whole sequence suffices.
        "gap, whole-sequence encoder": lambda: gaps.amortization(Amortized(AFFINE)),
        "gap, one x at a time": lambda: gaps.amortization(Amortized(OneAtATime())),
    }
