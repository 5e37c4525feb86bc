"""The gap in the bound that was trained, where that is not the ELBO: uncertified."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from avi.gap.compiled import Shared
from avi.gap.context import Context
from avi.gap.statistics import mean_and_error, mean_of
from avi.objectives.elbo import Elbo
from avi.population import Points
from avi.problem import Problem, fit
from avi.results.gap import SameBound
from avi.settings import Split
from avi.types import Lam


def reported_bound(problem: Problem) -> str:
    """Return the name of the bound that a report is in: the ELBO, whatever was trained."""
    objective = fit(Elbo(2, antithetic=True), problem.model, problem.family)
    return replace(problem, objective=objective).bound_name


def same_bound(
    context: Context, points: Points, of_split: Sequence[Split], lams: np.ndarray
) -> dict[Split, SameBound]:
    """Return per split what one call of the local optimiser gains in the bound that was trained.

    From the mode's own lam, scored on fresh draws shared by both ends. A lower bound on that gap,
    without a certificate: the Newton decrement is that of the ELBO.
    """
    compiled, experiment = context.compiled, context.experiment
    objective: Any = experiment.problem.objective
    repeats = max(2, context.settings.num_draws // objective.evaluations(compiled.family))

    def gains(shared: Shared, row: PyTree, number: Array, lam: Lam) -> Array:
        local = compiled.local(shared, row, number, objective)
        better = experiment.refine(local, lam, shared.key_of("search", number))
        keys = jax.random.split(jax.random.fold_in(shared.key, number), repeats)

        def gain(key: Any) -> Array:
            return local.bound(better, key).value - local.bound(lam, key).value

        return jax.lax.map(gain, keys)

    mapped = compiled.over_rows(gains, keyed=True)
    values = mapped(context.score_key, points.rows, points.ids, lams)
    found: dict[Split, SameBound] = {}
    for split in context.settings.splits:
        own = [mean_and_error(values[n]) for n, name in enumerate(of_split) if name == split]
        means, errors = (np.array(column) for column in zip(*own, strict=True))
        mean = mean_of(means, errors, context.stands_for(split), experiment.seed)
        name = f"{experiment.problem.bound_name} gap"
        found[split] = SameBound(name, mean.mean, mean.se)
    return found
