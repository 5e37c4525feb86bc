"""Whether log p(x) as a model states it agrees with numbers that do not ask the model for it."""

import numpy as np

from avi.abilities import LowDimensional, offers
from avi.evidence.quadrature import Quadrature
from avi.gap.context import Context
from avi.gap.decomposition import Weights
from avi.gap.statistics import significantly_negative
from avi.population import Points, rows_at
from avi.types import Estimate

LIGHT = 0.5  # khat below which weights have a variance, and their mean a known error
CHECKED = 30  # rows that are integrated
NODES = {1: 201, 2: 101}  # per dimension of the rule


def agrees(
    context: Context, points: Points, known: list[Estimate], weights: Weights, lams: np.ndarray
) -> bool | None:
    """Return whether closed forms of log p(x) contradict no estimate; None where there is none.

    Importance weights of q at lam* decide where their tail is light, at no cost. Their mean lacks
    the modes that q misses: what they find too little of is asked of quadrature, of latents that
    allow it, as is everything where weights say nothing.

    Args:
        context: the report.
        points: the rows.
        known: the closed form of each.
        weights: those of q at lam*.
        lams: lam* of each, [n, P].
    """
    exact = np.array([one.value for one in known], np.float64)
    light = (weights.khat < LIGHT) & np.isfinite(exact)
    slack = context.settings.tolerance
    above = np.zeros(0)
    if light.any():
        noise = np.asarray(weights.error)[light]
        above = exact[light] - weights.log_mean[light] - 0.5 * noise**2  # of a log: biased so
        if significantly_negative(above, noise, slack):
            return False
        if not significantly_negative(-above, noise, slack):
            return True
    model, family = context.experiment.problem.model, context.experiment.problem.family
    if not offers(LowDimensional, model, family):
        return False if light.any() else None
    few = np.flatnonzero(np.isfinite(exact))[:CHECKED]
    if not (few.size and context.clock.has_time()):
        return None
    context.on_progress("exact evidence against quadrature", 0.0)
    rule = Quadrature(NODES[model.latent.size])
    rows = rows_at(points, few)
    found = context.compiled.evidence_of(rule)(rows.rows, rows.ids, lams[few])
    return bool(np.all(np.abs(exact[few] - found.value) <= found.standard_error + slack))
