"""What the cases share: the stored problems, encoders with a known handicap, and short fits."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from avi.engine.evaluator import Evaluator
from avi.engine.lanes import in_lanes
from avi.engine.loop import make_run
from avi.engine.step import init_state, make_step
from avi.inference.free_form import FreeForm
from avi.inference.refined import Refined
from avi.inference.start import Start
from avi.objectives.draws import noise_size
from avi.objectives.moment_matched import MomentMatched
from avi.optimizers.natural_gradient import NaturalGradient
from avi.population import Points
from avi.problem import Problem
from avi.refine.ascent import Ascent
from avi.types import (
    DataSpec,
    Evidence,
    Family,
    Inference,
    Lam,
    Model,
    Network,
    Objective,
    Params,
    PRNGKey,
    Refine,
    Target,
    Theta,
    X,
)

KEY = jax.random.key(0)
# A rate below 1: with a diagonal q a full step may overshoot where the posterior correlates.
NATURAL = Ascent(NaturalGradient(rate=0.4, delay=1.0, decay=0.0), steps=150, average=False)


class Stored(NamedTuple):
    """One problem of oracles.json and its exact answers."""

    problem: dict[str, Any]  # arrays
    expected: dict[str, float]


@cache
def stored(name: str) -> Stored:
    """Return a problem by its name."""
    text = files("avi.verify").joinpath("oracles.json").read_text(encoding="utf-8")
    section = json.loads(text)[name]
    arrays = {
        key: jax.tree.map(_array, value, is_leaf=_is_list)
        for key, value in section["problem"].items()
    }
    return Stored(arrays, section["expected"])


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, np.float64)


class Bench(NamedTuple):
    """A model at known parameters with some observations."""

    model: Model
    theta: Theta
    rows: X  # leading axis n

    @property
    def points(self) -> Points:
        """Return the observations with their ids."""
        return Points(self.rows, np.arange(len(jax.tree.leaves(self.rows)[0])))

    def evidence(self, evidence: Evidence, family: Family, lam: Lam | None = None) -> np.ndarray:
        """Return the estimate of log p(x) of every observation."""
        lam = family.init() if lam is None else lam

        def one(theta: Theta, x: X, number: Array) -> Array:
            key = jax.random.fold_in(KEY, number)
            return evidence(Target(self.model, theta, x), family, lam, key).value

        return in_lanes(one, width=len(self.points))(self.theta, self.rows, self.points.ids)

    def bounds(
        self, family: Family, inference: Inference, phi: PyTree, objective: Objective | None = None
    ) -> np.ndarray:
        """Return the bound of every observation under a mode."""
        problem = Problem(self.model, family, inference, objective or exact(family))
        evaluator = Evaluator(problem, view, len(self.points))
        return evaluator.bounds(Params(self.theta, phi), self.points, KEY)

    def lams(
        self, family: Family, refine: Refine = NATURAL, objective: Objective | None = None
    ) -> np.ndarray:
        """Return lam* of every observation."""
        mode = Refined(Start(), refine, backprop=False)
        problem = Problem(self.model, family, mode, objective or exact(family))
        evaluator = Evaluator(problem, view, len(self.points))
        return evaluator.lams(Params(self.theta, {}), self.points, KEY, width=len(self.points))

    def bounds_at(
        self, family: Family, lams: np.ndarray, objective: Objective | None = None
    ) -> np.ndarray:
        """Return the bound of every observation at its lam."""
        problem = Problem(self.model, family, Start(), objective or exact(family))

        def one(theta: Theta, x: X, lam: Lam, number: Array) -> Array:
            return problem.local(theta, x).bound(lam, jax.random.fold_in(KEY, number)).value

        return in_lanes(one, width=len(self.points))(self.theta, self.rows, lams, self.points.ids)

    def one_natural_step(self, family: Family, objective: Objective | None = None) -> np.ndarray:
        """Return the table of lam after one visit to every row at rate 1."""
        mode = FreeForm(NATURAL)
        given = {"num_steps": 1, "phi": natural(1.0), "start": self.theta, "objective": objective}
        return np.asarray(self.fitted(family, mode, **given).phi)

    def fitted(
        self,
        family: Family,
        inference: Inference,
        *,
        num_steps: int,
        phi: Any = None,
        theta: Any = None,
        start: Theta | None = None,
        objective: Objective | None = None,
    ) -> Params:
        """Return the parameters after full-batch training; theta moves only by an optimiser."""
        problem = Problem(self.model, family, inference, objective or exact(family))
        number = len(self.points)
        mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), self.rows)
        example = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), self.rows)
        spec = DataSpec(example, mean, self.model.support, number)
        params = problem.init(KEY, spec)
        params = params._replace(theta=params.theta if start is None else start)
        params = jax.tree.map(lambda leaf: jnp.array(leaf, float), params)
        optimizers = Params(theta or optax.set_to_zero(), phi or adam(0.1, num_steps))
        state = init_state(problem, optimizers, params)
        rows = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), self.rows)
        # All rows in every batch: one "epoch" of as many batches as there are steps.
        run = make_run(make_step(problem, optimizers, view, number), num_steps, number)
        order = jnp.tile(jnp.arange(number), num_steps)
        return run(state, rows, order, num_steps, KEY)[0].params


def exact(family: Family) -> Any:
    """Return the ELBO without Monte Carlo error where (z, x) is normal."""
    return MomentMatched(noise_size(family) + 2)


def view(row: PyTree, index: Array, visit: Array) -> X:
    """Return the row as it is."""
    del index, visit
    return row


def adam(rate: float, num_steps: int) -> optax.GradientTransformation:
    """Return Adam with a rate that falls by a factor of 1000 over the steps."""
    return optax.adam(optax.exponential_decay(rate, num_steps, 1e-3), b2=0.99)


def natural(rate: float) -> NaturalGradient:
    """Return natural steps at a constant rate."""
    return NaturalGradient(rate=rate, delay=1.0, decay=0.0)


def monte_carlo(function: Callable[[PRNGKey], Array], number: int) -> np.ndarray:
    """Return `number` independent values of `function`, float64."""
    keys = jax.random.split(KEY, number)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(function, keys, batch_size=1000))(keys))


@dataclass(frozen=True)
class FirstInputs:
    """An encoder that sees the first entries of x only."""

    network: Network
    number: int

    def init(self, key: PRNGKey, x: X, output_bias: Array) -> dict[str, Any]:
        """Return the parameters of the network."""
        return self.network.init(key, x[: self.number], output_bias)

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " outputs"]:
        """Return the outputs."""
        return self.network.apply(params, x[: self.number], num_outputs)


@dataclass(frozen=True)
class Constant:
    """An encoder that gives every x the same q."""

    def init(self, key: PRNGKey, x: X, output_bias: Array) -> dict[str, Any]:
        """Return the one lam."""
        del key, x
        return {"bias": output_bias}

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " outputs"]:
        """Return the outputs."""
        del x, num_outputs
        return params["bias"]


@dataclass(frozen=True)
class LowRank:
    """An affine encoder whose means lie on a plane of dimension `rank`; scales are shared."""

    rank: int

    def init(self, key: PRNGKey, x: X, output_bias: Array) -> dict[str, Any]:
        """Return random factors."""
        inner_key, outer_key = jax.random.split(key)
        inner = 0.3 * jax.random.normal(inner_key, (x.size, self.rank))
        outer = 0.3 * jax.random.normal(outer_key, (self.rank, output_bias.size // 2))
        return {"inner": inner, "outer": outer, "bias": output_bias}

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " outputs"]:
        """Return the outputs."""
        mean = x @ params["inner"] @ params["outer"]
        return params["bias"] + jnp.concatenate([mean, jnp.zeros(num_outputs - mean.size)])


@dataclass(frozen=True)
class OneAtATime:
    """An encoder of sequences that sees one x_t at a time: mean a x_t + b, one scale for all t."""

    def init(self, key: PRNGKey, x: X, output_bias: Array) -> dict[str, Any]:
        """Return zeros."""
        del key, x, output_bias
        return {"slope": jnp.zeros(()), "offset": jnp.zeros(()), "log_scale": jnp.zeros(())}

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " outputs"]:
        """Return the outputs."""
        mean = params["slope"] * x + params["offset"]
        return jnp.concatenate([mean, jnp.full(num_outputs - x.size, params["log_scale"])])


@dataclass(frozen=True)
class EachPattern:
    """An affine encoder for each pattern of missing entries, with scales shared by all patterns."""

    patterns: tuple[tuple[float, ...], ...]

    def init(self, key: PRNGKey, x: X, output_bias: Array) -> dict[str, Any]:
        """Return zeros."""
        del key
        size, number = output_bias.size // 2, len(self.patterns)
        return {
            "kernel": jnp.zeros((number, x["value"].size, size)),
            "offset": jnp.zeros((number, size)),
            "log_scale": jnp.zeros(size),
        }

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " outputs"]:
        """Return the outputs."""
        del num_outputs
        which = jnp.argmax(jnp.all(x["mask"] == jnp.asarray(self.patterns), axis=1))
        mean = x["value"] @ params["kernel"][which] + params["offset"][which]
        return jnp.concatenate([mean, params["log_scale"]])
