"""log p(x) of the points of a report: what the model knows first, estimates at lam*."""

from contextlib import suppress
from typing import Any, NamedTuple, cast

import numpy as np

from avi.abilities import Bidirectional, Tractable
from avi.gap.context import Context
from avi.gap.decomposition import spacing_at
from avi.gap.precision import in_double
from avi.gap.sandwich import settle
from avi.gap.simulated import misses_no_mode
from avi.population import Points, rows_at
from avi.process.grammar import many
from avi.results.gap import Sandwich
from avi.types import Estimate, Evidence

ROUNDED = 8  # units in the last place that a sum of many terms may lose
UNKNOWN = Estimate(*len(Estimate._fields) * [cast(Any, float("nan"))])


class Evidences(NamedTuple):
    """The estimates of some points, with the estimator that made them."""

    by: Evidence
    estimates: list[Estimate]
    sandwich: Sandwich | None = None  # of this estimator, where it has bounds on both sides
    modes_ok: bool | None = None  # it misses none on simulated rows; None where that is not asked


def known_evidence(context: Context, points: Points) -> list[Estimate] | None:
    """Return the evidence that the model knows, None if it knows none: no search is needed.

    In double precision: a determinant and a quadratic form of single precision lose what a gap is.
    """
    evidence, family = context.experiment.evidence, context.experiment.problem.family
    if Tractable not in evidence.needs:
        return None
    context.on_progress("exact evidence", 0.0)
    nowhere = np.broadcast_to(np.asarray(family.init()), (len(points), family.num_params))
    found = _of_rows(context, evidence, points, nowhere)
    estimates = [Estimate(*(leaf[n] for leaf in found)) for n in range(len(points))]
    _note_lost(context, estimates)
    return estimates


def estimated_evidence(
    context: Context, before: Evidences, points: Points, lams: np.ndarray
) -> Evidences:
    """Return the evidence of points at their lam*; temperatures are settled on the first of them.

    Args:
        context: the report.
        before: the estimator so far, and its sandwich if that has been made.
        points: the rows.
        lams: their lam*.
    """
    evidence, _, sandwich, modes_ok = before
    if evidence.kind == "none":
        return Evidences(evidence, [UNKNOWN] * len(points))
    if modes_ok is None:
        modes_ok = misses_no_mode(context, evidence, points, lams)
    due = context.settings.simulated and sandwich is None and context.clock.has_time()
    if due and isinstance(evidence, Bidirectional):
        evidence, sandwich = settle(context, evidence, points, lams)
    estimates = _estimates(context, evidence, points, lams)
    _note_lost(context, estimates)
    return Evidences(evidence, estimates, sandwich, modes_ok)


def _estimates(
    context: Context, evidence: Evidence, points: Points, lams: np.ndarray
) -> list[Estimate]:
    ledger = context.ledger
    known = [ledger.estimate(r, evidence, lam) for r, lam in zip(points.ids, lams, strict=True)]
    result = [UNKNOWN if one is None else one for one in known]
    left = [number for number, one in enumerate(known) if one is None]
    lanes = context.compiled.lanes
    for first in range(0, len(left), lanes):
        context.on_progress("evidence", first / len(left))
        if not context.clock.has_time():
            context.notes.drop(
                f"the evidence of {len(left) - first} of {len(points)} rows: no time left."
            )
            break
        batch = np.array(left[first : first + lanes])
        found = _of_rows(context, evidence, rows_at(points, batch), lams[batch])
        for place, number in enumerate(batch):
            result[number] = Estimate(*(leaf[place] for leaf in found))
            ledger.add_estimate(points.ids[number], evidence, lams[number], result[number])
    return result


def _of_rows(context: Context, evidence: Evidence, points: Points, lams: np.ndarray) -> Estimate:
    """Return the estimates of some points; what is to be exact is computed in double precision."""
    if evidence.kind == "exact":
        # A model with arrays of single precision in its code has no other.
        with suppress(TypeError), in_double(context, points) as (compiled, observed):
            return compiled.evidence_of(evidence)(observed.rows, observed.ids, lams)
    found: Estimate = context.compiled.evidence_of(evidence)(points.rows, points.ids, lams)
    if evidence.kind != "exact":
        return found
    rounding = np.array([spacing_at(value) for value in np.abs(found.value)])
    return found._replace(standard_error=np.fmax(found.standard_error, ROUNDED * rounding))


def _note_lost(context: Context, estimates: list[Estimate]) -> None:
    made = [one for one in estimates if one is not UNKNOWN]
    if lost := sum(not np.isfinite(one.value) for one in made):
        context.notes.drop(f"the evidence of {many(lost, 'row')}: it is not a finite number.")
