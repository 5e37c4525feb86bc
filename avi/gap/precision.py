"""Whether single precision is enough: numbers that rounding alone moves are not to be believed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from avi.gap.compiled import Compiled
from avi.gap.context import Context
from avi.gap.decomposition import spacing_at
from avi.gap.statistics import mean_and_error
from avi.population import Points, rows_at
from avi.settings import Split

CHECKED = 30  # rows of each split, and as many of the largest bounds
Z = 4.75  # one false alarm in a million, for a row


@contextmanager
def in_double(context: Context, points: Points) -> Iterator[tuple[Compiled, Points]]:
    """Compute in double precision, whatever the run's is: what to call, and the observations.

    Observations are made in the run's own precision first: a view that draws would draw others.
    """
    observed = Points(context.compiled.observe(points.rows, points.ids), points.ids)
    with jax.enable_x64(True):
        params = jax.tree.map(_doubled, context.params._replace(phi=()))
        yield context.compiled_for_observed(params), observed


def _doubled(leaf: PyTree) -> np.ndarray:
    values = np.asarray(leaf)
    return values.astype(np.float64) if np.issubdtype(values.dtype, np.floating) else values


def holds(
    context: Context,
    points: Points,
    of_split: Sequence[Split],
    ends: tuple[np.ndarray, np.ndarray],
    values: tuple[np.ndarray, np.ndarray],
) -> bool | None:
    """Say whether double precision finds the same bounds; None where there was no time to ask.

    Args:
        context: the report.
        points: the rows.
        of_split: the split of each.
        ends: lam and lam* of each, [n, P].
        values: the bound there on each pair of draws, [n, pairs].
    """
    if jnp.result_type(float) == np.float64:
        return True
    at_lam, at_best = values
    sizes = np.abs(at_best.mean(axis=1))
    if not np.isfinite(sizes).all():
        return None  # which a flag of its own says
    if spacing_at(sizes.max(initial=0.0)) > context.settings.tolerance / 2:
        return False
    if not context.clock.has_time():
        return None
    context.on_progress("the same bounds in double precision", 0.0)
    chosen = _chosen(of_split, sizes)
    try:
        with in_double(context, rows_at(points, chosen)) as (compiled, rows):
            again = [
                compiled.values(context.score_key, rows.rows, rows.ids, end[chosen]) for end in ends
            ]
    except TypeError:  # arrays of single precision in the code of a model or family
        context.notes.skip("bounds in double precision: this model or family does not allow it.")
        return None
    single = at_lam[chosen], at_best[chosen]
    differences = (single[1] - single[0], again[1] - again[0]), (single[1], again[1])
    return not any(_differ(*pair, context.settings.tolerance) for pair in differences)


def _chosen(of_split: Sequence[Split], sizes: np.ndarray) -> np.ndarray:
    """Return the first rows of each split, which are a random choice, and the largest bounds."""
    found = set(np.argsort(-sizes, kind="stable")[:CHECKED].tolist())
    for split in dict.fromkeys(of_split):
        found |= set([n for n, name in enumerate(of_split) if name == split][:CHECKED])
    return np.array(sorted(found))


def _differ(single: np.ndarray, double: np.ndarray, tolerance: float) -> bool:
    """Whether values of the same rows differ by more than their draws do, and the tolerance."""
    one, other = (
        np.array([mean_and_error(row) for row in rows]).reshape(-1, 2) for rows in (single, double)
    )
    apart = one[:, 0] - other[:, 0]
    noise = np.hypot(one[:, 1], other[:, 1])
    mean_noise = float(np.sqrt(np.sum(noise**2))) / len(apart)
    far = np.abs(apart) > Z * noise + tolerance
    return bool(np.any(far) or abs(apart.mean()) > 3 * mean_noise + tolerance)
