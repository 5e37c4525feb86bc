"""Functions of one datapoint over many, in lanes of one fixed width."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from avi.abilities import Decodable, given
from avi.engine.lanes import WIDTH, in_lanes
from avi.population import Points, rows_at
from avi.problem import Problem
from avi.types import Bound, Lam, Objective, Params, PRNGKey, Psi, Target, Theta, X


class Evaluator:
    """The compiled views of one problem on one data set, for rows seen in training and for others.

    `view` must be the fixed one: one recorded draw per row. Bounds have `num_draws` draws; how a
    mode arrives at lam, inner steps included, is as in training.
    """

    def __init__(
        self, problem: Problem, view: Callable[..., X], num_data: int, num_draws: int | None = None
    ) -> None:
        self.num_data = num_data
        self.view = view
        scoring = (
            problem.objective if num_draws is None else with_draws(problem.objective, num_draws)
        )
        self._seen = _Compiled(problem, scoring, view)
        unseen = Problem(
            problem.model, problem.family, problem.inference.unseen(), problem.objective
        )
        # A mode without rows is its own mode for unseen data: one compilation serves both.
        self._unseen = self._seen
        if problem.inference.per_datapoint:
            self._unseen = _Compiled(unseen, scoring, view)

    def bounds(self, params: Params, points: Points, key: PRNGKey) -> np.ndarray:
        """Return the bound of every point, float64[M] in nats."""
        return self._over(points, params, key, "bound")

    def bounds_at(
        self, params: Params, points: Points, key: PRNGKey, lams: np.ndarray
    ) -> np.ndarray:
        """Return the bound of every point at a lam of its own, on the draws of `bounds`."""
        return self._over(points, params, key, "score", WIDTH, lams)

    def lams(self, params: Params, points: Points, key: PRNGKey, width: int = WIDTH) -> np.ndarray:
        """Return the lam that the mode gives every point, float64[M, P]."""
        return self._over(points, params, key, "infer", width)

    def _over(
        self,
        points: Points,
        params: Params,
        key: PRNGKey,
        what: str,
        width: int = WIDTH,
        *more: np.ndarray,
    ) -> np.ndarray:
        seen = points.ids < self.num_data
        parts: dict[bool, np.ndarray] = {}
        for known in (True, False):
            chosen = np.flatnonzero(seen == known)
            if chosen.size:
                compiled = self._seen if known else self._unseen
                part, own = rows_at(points, chosen), [leaf[chosen] for leaf in more]
                parts[known] = compiled.over(what, params, part.rows, part.ids, key, width, *own)
        result = np.empty((len(points), *next(iter(parts.values())).shape[1:]))
        for known, values in parts.items():
            result[seen == known] = values
        return result


def moments(problem: Problem, psi: Psi, lams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of q(z; lam) for each lam, [M, D]."""

    def both(psi: Psi, lam: Lam) -> tuple[Array, Array]:
        family = given(problem.family, psi)
        return family.mean(lam), family.standard_deviation(lam)

    found: tuple[np.ndarray, np.ndarray] = in_lanes(both)(psi, lams)
    return found


def decoded(model: Decodable, theta: Theta, latents: np.ndarray, like: X) -> np.ndarray:
    """Return E[x | z] of each latent [n, D]; `like` is an x of their shape, one array."""
    found: np.ndarray = in_lanes(lambda theta, z: model.decode(theta, z, like))(theta, latents)
    return found


def with_draws(objective: Any, num_samples: int) -> Any:
    """Return the objective with about `num_samples` draws, if it draws at all: the same bound.

    Where the draws are part of what the bound is (the k of IWAE-k), it is a mean of independent
    values of that bound.
    """
    if not any(field.name == "num_samples" for field in fields(objective)):
        return objective
    sharper = replace(objective, num_samples=num_samples)
    if sharper.bound_name == objective.bound_name:
        return sharper
    return _Repeated(objective, max(1, num_samples // objective.num_samples))


@dataclass(frozen=True)
class _Repeated:
    """The mean of independent values of one bound."""

    objective: Any
    number: int

    def __call__(self, target: Target, family: Any, lam: Lam, key: PRNGKey) -> Bound:
        keys = jax.random.split(key, self.number)
        bounds = jax.lax.map(lambda one: self.objective(target, family, lam, one), keys)
        mean: Bound = jax.tree.map(lambda leaf: leaf.mean(axis=0), bounds)
        return mean

    def evaluations(self, family: Any) -> int:
        return self.number * int(self.objective.evaluations(family))


class _Compiled:
    def __init__(self, problem: Problem, scoring: Objective, view: Callable[..., X]) -> None:
        self.per_datapoint = problem.inference.per_datapoint

        def x_of(row: PyTree, number: Array) -> X:
            return view(row, number, jnp.zeros((), jnp.int32))

        def own(params: Params, phi_row: PyTree) -> Params:
            return params._replace(phi=phi_row) if self.per_datapoint else params

        def bound(
            shared: tuple[Params, PRNGKey], row: PyTree, number: Array, phi_row: PyTree
        ) -> Array:
            return score(shared, row, number, phi_row, infer(shared, row, number, phi_row))

        def score(
            shared: tuple[Params, PRNGKey], row: PyTree, number: Array, phi_row: PyTree, lam: Lam
        ) -> Array:
            params, key = own(shared[0], phi_row), shared[1]
            _, bound_key = jax.random.split(jax.random.fold_in(key, number))
            target, family, _ = problem.local(params.theta, x_of(row, number), params.psi)
            return scoring(target, family, lam, bound_key).value

        def infer(
            shared: tuple[Params, PRNGKey], row: PyTree, number: Array, phi_row: PyTree
        ) -> Lam:
            params, key = own(shared[0], phi_row), shared[1]
            infer_key, _ = jax.random.split(jax.random.fold_in(key, number))
            return problem.infer(params, x_of(row, number), infer_key)

        self._functions: dict[str, Callable[..., Any]] = {
            "bound": bound,
            "infer": infer,
            "score": score,
        }
        self._mapped: dict[tuple[str, int], Callable[..., Any]] = {}

    def over(
        self,
        what: str,
        params: Params,
        rows: PyTree,
        ids: np.ndarray,
        key: PRNGKey,
        width: int,
        *more: np.ndarray,
    ) -> np.ndarray:
        phi_rows = jax.tree.map(lambda leaf: leaf[ids], params.phi) if self.per_datapoint else {}
        shared = params._replace(phi=()) if self.per_datapoint else params
        mapped = self._mapped.setdefault((what, width), in_lanes(self._functions[what], width))
        return mapped((shared, key), rows, ids, phi_rows, *more)
