"""How far the searches have come that a table's mode needs for rows outside it."""

import jax.numpy as jnp
import numpy as np

from avi.engine.step import View
from avi.gap.compiled import Compiled
from avi.population import Points, rows_at
from avi.results.record import UNKNOWN, Value
from avi.run.session import Session
from avi.types import Params

ROWS = 100  # of a split that are certified, the first
SOME = 0.5  # share of them whose curvature must be positive for their mean to be said


def left_to_gain(
    session: Session, params: Params, points: Points, lams: np.ndarray, view: View | None = None
) -> Value:
    """Return the mean certificate of lams that are not of the table, in nats per datapoint.

    Unknown where there is no such row, or none of the usual certificates: its curvature is not
    positive at too many of the rows, so that nobody can tell how far away the top is.

    Args:
        session: the run.
        params: its parameters.
        points: the rows of one split.
        lams: what the mode found for them, [M, P].
        view: what the bound scores of such a row; None: as in reports on the run's own rows.
    """
    experiment = session.experiment
    searched = np.flatnonzero(points.ids >= session.spec.num_data)[:ROWS]
    if not (experiment.problem.inference.per_datapoint and len(searched)):
        return UNKNOWN
    compiled = Compiled(experiment, experiment.gap, params, view or experiment.dataset.fixed().view)
    if not compiled.certifies:
        return UNKNOWN
    chosen, nothing = rows_at(points, searched), np.zeros(len(searched), np.int32)
    found = compiled.certify(chosen.rows, chosen.ids, nothing, nothing, jnp.asarray(lams[searched]))
    sound = np.asarray(found.positive) & np.isfinite(found.value)
    if sound.mean() < SOME:
        return UNKNOWN
    each = np.asarray(found.value, np.float64)[sound]
    error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else np.nan
    return Value(float(each.mean()), error)


def in_words(session: Session, left: Value) -> str:
    """Return what a line says behind a bound of rows that were searched for, mostly nothing."""
    if not session.experiment.problem.inference.per_datapoint:
        return ""
    if not left.known:
        return "; search end unknown"
    return (
        f"; search {left.mean:.2g} short" if left.exceeds(session.experiment.gap.tolerance) else ""
    )
