"""Rows drawn from the model: their z is known, and by it what an estimate of log p(x) misses."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from avi.abilities import Tellable
from avi.gap.compiled import Shared
from avi.gap.context import Context
from avi.gap.decomposition import spacing_at
from avi.gap.search import Found, Job
from avi.population import Points, rows_at
from avi.randomness import key_for
from avi.types import Estimate, Evidence, Lam

REAL = 100  # real rows that are compared with simulated ones
INSIDE = 0.9  # share of them whose bounds must be such as simulated ones have
ROUNDED = 8  # units in the last place of a sum of many terms


def draw(context: Context) -> tuple[Points, np.ndarray]:
    """Return simulated rows, with ids beyond all others, and the true z of each."""
    experiment, settings = context.experiment, context.settings
    sizes = context.sizes
    ids = sum(sizes.values()) + np.arange(settings.simulated)
    # What a row brings beside its values, such as a mask or known scales, is that of real rows.
    index = np.arange(settings.simulated) % sizes["train"]
    templates = jax.tree.map(lambda leaf: leaf[index], context.splits.train)
    view = experiment.dataset.fixed().view
    model = experiment.problem.model

    def one(shared: Shared, row: PyTree, number: Array) -> tuple[Array, PyTree]:
        like = view(row, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return model.sample(shared.theta, jax.random.fold_in(shared.key, number), like)

    compiled = context.compiled_for_simulated
    key = key_for(experiment.seed, "simulate")
    latents, rows = compiled.over_rows(one, keyed=True)(key, templates, ids)
    return Points(rows, ids), latents


def search(context: Context, points: Points, lams: np.ndarray) -> list[Found]:
    """Return lam* of simulated rows, each searched from the mode's own lam."""
    jobs = [Job(number, 0, lam) for number, lam in enumerate(lams)]

    def may_go_on() -> bool:
        done = sum(job.found is not None for job in jobs)
        context.on_progress("λ* of simulated data", done / len(jobs))
        return True

    context.searcher(points, may_go_on, context.compiled_for_simulated).run(jobs, lambda job: None)
    return [job.found for job in jobs if job.found is not None]  # all of them: no clock runs


def bounds(
    context: Context, drawn: Points, drawn_lams: np.ndarray, real: Points, real_lams: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of simulated and of real rows, [n] each."""
    ends = (
        (context.compiled_for_simulated, drawn, drawn_lams),
        (context.compiled, real, real_lams),
    )
    simulated, of_real = (
        compiled.values(context.score_key, points.rows, points.ids, lams).mean(axis=1)
        for compiled, points, lams in ends
    )
    return simulated, of_real


def both(
    context: Context,
    points: Points,
    latents: np.ndarray,
    lams: np.ndarray,
    estimators: tuple[Callable[..., Estimate], Callable[..., Estimate]],
) -> tuple[Estimate, Estimate]:
    """Return two estimates of log p(x) of each row: one of x alone, and one that is told its z."""
    compiled, (alone, told) = context.compiled_for_simulated, estimators

    def one(
        shared: Shared, row: PyTree, number: Array, lam: Lam, z: Array
    ) -> tuple[Estimate, Estimate]:
        target, family, _ = compiled.local(shared, row, number, compiled.pair_objective)
        problem, key = (target, family, lam), shared.key_of("evidence", number)
        # One program: what both need, the step sizes of annealing say, is found once.
        return alone(*problem, key), told(*problem, z, key)

    found: tuple[Estimate, Estimate] = compiled.over_rows(one)(
        points.rows, points.ids, lams, latents
    )
    return found


def misses_no_mode(
    context: Context, evidence: Evidence, real: Points, real_lams: np.ndarray
) -> bool | None:
    """Say whether the estimate of simulated rows stays when it is told where z is.

    A mode with the share m of a posterior holds the true z of that share of its rows, and is worth
    -log(1 - m) nats. It says nothing of real rows that are less likely than any simulated one: the
    answer is no if they are many. None where no rows are simulated, or it looks for no modes.
    """
    if not (context.settings.simulated and isinstance(evidence, Tellable)):
        return None
    by: Any = evidence
    context.on_progress("the modes of simulated data", 0.0)
    points, latents = draw(context)
    lams = context.lams(points, context.compiled_for_simulated)
    found, told = both(context, points, latents, lams, (by, by.told))
    rounding = np.array([ROUNDED * spacing_at(value) for value in told.value])
    missed = np.abs(told.value - found.value)
    few = np.arange(min(REAL, len(real)))
    simulated, of_real = bounds(context, points, lams, rows_at(real, few), real_lams[few])
    likely = np.mean(of_real >= simulated.min())
    return bool(np.all(missed <= context.settings.tolerance + rounding) and likely >= INSIDE)
