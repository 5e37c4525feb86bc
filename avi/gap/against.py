"""Rows from elsewhere under a trained model, measured alike, and what tells them apart."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from avi.engine.step import View
from avi.experiment import Experiment
from avi.gap.context import Progress
from avi.gap.elsewhere import for_rows
from avi.gap.measure import measure
from avi.gap.statistics import LEVEL
from avi.population import Points
from avi.results.against import OtherRow, Score
from avi.results.points import NOT_FINITE, Decomposition
from avi.settings import GapSettings
from avi.types import Params, Splits

EDGE = 1e-9


def others(
    experiment: Experiment,
    params: Params,
    splits: Splits,
    points: Points,
    *,
    view: View,
    settings: GapSettings,
    on_progress: Progress,
) -> list[OtherRow]:
    """Return what inference loses on rows from elsewhere: the searches of a report, no evidence.

    Args:
        experiment: the trained one.
        params: of the checkpoint.
        splits: the run's own rows.
        points: the other rows, one or more, with ids in a row behind those of training.
        view: what a model is given of each.
        settings: of the report on the run's own rows.
        on_progress: hears what is going on; may raise to stop.
    """
    context = for_rows(
        experiment, params, splits, points, view=view, settings=settings, on_progress=on_progress
    )
    found = measure(context).reported
    first = int(points.ids[0])
    return [_row(one, one.row - first) for one in sorted(found, key=lambda one: one.row)]


def _row(one: Decomposition, place: int) -> OtherRow:
    return OtherRow(
        row=place,
        bound=one.bound,
        bound_star=one.bound_star,
        bound_star_se=one.bound_star_se,
        regret=one.amortization_gap,
        certificate=one.certificate,
        converged=one.converged,
        flags=one.flags,
    )


def scores(own: Sequence[Decomposition], other: Sequence[OtherRow]) -> tuple[Score, ...]:
    """Return how well each number tells other rows from the run's own; rows without one left out.

    The gap of a row is the likelihood regret of Xiao, Yan & Amit (2020), with a certificate here.
    """
    own = [row for row in own if NOT_FINITE not in row.flags]
    other = [row for row in other if NOT_FINITE not in row.flags]
    pairs = {
        "-ELBO": ([-row.bound for row in own], [-row.bound for row in other]),
        "-ELBO at λ*": ([-row.bound_star for row in own], [-row.bound_star for row in other]),
        "likelihood regret": (
            [row.amortization_gap for row in own],
            [row.regret for row in other],
        ),
    }
    return tuple(Score(name, *auroc(*map(np.array, pair))) for name, pair in pairs.items())


def auroc(own: np.ndarray, other: np.ndarray) -> tuple[float, tuple[float, float] | None]:
    """Return the share of pairs in which `other` is larger, ties by half, and its 95 % interval.

    The interval is that of Newcombe (2006), method 5: where the variance of Hanley & McNeil (1982)
    at its ends puts them 1.96 standard errors away. It has a width at 0 and at 1 too.
    """
    m, n = len(other), len(own)
    if not (m and n):
        return math.nan, None
    ranks = rankdata(np.concatenate([other, own]))[:m]
    share = float((ranks.sum() - m * (m + 1) / 2) / (m * n))
    z = norm.ppf(0.5 + LEVEL / 2)

    def excess(theta: float) -> float:
        spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) * (1 + ((m + n) / 2 - 1) * spread) / (m * n)
        return (theta - share) ** 2 - z**2 * variance

    # At 0 and 1 the share itself is a root too.
    low = 0.0 if share == 0 else float(brentq(excess, 0.0, share - EDGE))
    high = 1.0 if share == 1 else float(brentq(excess, share + EDGE, 1.0))
    return share, (low, high)
