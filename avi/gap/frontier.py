"""The amortization frontier: nats recovered by a few local steps, and what they cost."""

from collections.abc import Sequence
from itertools import pairwise
from time import perf_counter

import numpy as np

from avi.gap.context import Context
from avi.gap.statistics import mean_and_error, mean_of
from avi.population import Points, chosen, rows_at
from avi.results.gap import FrontierStep
from avi.results.points import Decomposition
from avi.settings import Split

STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def frontiers(
    context: Context,
    points: Points,
    of_split: Sequence[Split],
    lams: np.ndarray,
    rows: Sequence[Decomposition],
) -> dict[Split, tuple[FrontierStep, ...]]:
    """Return the frontier of each split, of its first points; none where there is no time.

    Args:
        context: the report.
        points: the rows.
        of_split: the split of each.
        lams: the mode's own lam of each, [n, P].
        rows: what the report says of them.
    """
    if not context.settings.frontier:
        return {}
    if not context.clock.has_time():
        context.notes.skip("the frontier: no time left.")
        return {}
    found: dict[Split, tuple[FrontierStep, ...]] = {}
    for split in context.settings.splits:
        index = chosen(points, of_split, split, context.settings.frontier)
        curve = _frontier(context, rows_at(points, index), split, lams[index])
        drawn = set(context.splits.origin.rows_of(points.ids[index]).tolist())
        own = [row for row in rows if row.row in drawn]
        found[split] = (*curve, *([_converged(own)] if own else []))
    return found


def _frontier(
    context: Context, points: Points, split: Split, lams: np.ndarray
) -> list[FrontierStep]:
    """Return, after each number of steps from the mode's own lam, what the bound has gained.

    The steps and draws are those of the search, the bounds on the draws of the report. Milliseconds
    are those of one observation in a batch as wide as the lanes.
    """
    compiled, key = context.compiled, context.score_key
    at_start = compiled.values(key, points.rows, points.ids, lams)
    state = compiled.begin(points.rows, points.ids, lams)
    lanes = np.zeros(len(points), int)
    compiled.walk(points.rows, points.ids, lanes, lanes, lanes, state)  # compiles
    curve, seconds = [], 0.0
    curve.append(_entry(context, split, np.zeros_like(at_start), 0, 0.0))
    for before, after in pairwise(STEPS):
        began = perf_counter()
        state, reached = compiled.walk(
            points.rows, points.ids, lanes, lanes + before, lanes + after, state
        )
        seconds += perf_counter() - began
        gains = compiled.values(key, points.rows, points.ids, reached) - at_start
        curve.append(_entry(context, split, gains, after, 1000 * seconds / len(points)))
        context.on_progress("frontier", after / STEPS[-1])
    return curve


def _entry(
    context: Context,
    split: Split,
    gains: np.ndarray,
    steps: int,
    milliseconds: float,
) -> FrontierStep:
    means, errors = zip(*(mean_and_error(one) for one in gains), strict=True)
    size = context.stands_for(split)
    mean = mean_of(np.array(means), np.array(errors), size, context.experiment.seed)
    return FrontierStep(steps, mean.mean, mean.se, milliseconds if steps else 0.0)


def _converged(rows: Sequence[Decomposition]) -> FrontierStep:
    """Return the frontier's end: all of the gap, for the gradient evaluations that it took."""
    gaps = np.array([row.amortization_gap for row in rows])
    unknown = float("nan")
    return FrontierStep(
        steps=unknown,  # until every row was certified
        mean=float(gaps.mean()),
        se=float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else unknown,
        gradient_evaluations=float(np.mean([row.gradient_evaluations for row in rows])),
    )
