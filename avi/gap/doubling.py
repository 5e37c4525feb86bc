"""How many rows a report measures: they double until the interval of every gap is narrow enough."""

import math

from avi.gap.context import Context
from avi.gap.statistics import LEVEL
from avi.results.gap import GapSummary
from avi.settings import GapSettings

FIRST_POINTS = 100  # per split, where doubling for half_width begins


def first_points(settings: GapSettings) -> int:
    """Return the rows per split that a report begins with: all, unless an interval may end it."""
    if settings.half_width is None:
        return settings.num_points
    return min(settings.num_points, FIRST_POINTS)


def needs_more(context: Context, summary: GapSummary, last: int) -> bool:
    """Whether the gap of a split is not known well enough, and there are rows and time for more."""
    settings = context.settings
    target, size = settings.half_width, _largest(context)
    if target is None or last >= size or not context.clock.has_time() or summary.not_finite:
        return False
    return any(one.amortization_gap.half_width > target for one in summary.splits.values())


def level(context: Context) -> float:
    """Return the level of the intervals: with all the looks that doubling may take, 95 %."""
    if context.settings.half_width is None:
        return LEVEL
    looks = 1 + max(0, math.ceil(math.log2(_largest(context) / FIRST_POINTS)))
    return 1 - (1 - LEVEL) / looks


def _largest(context: Context) -> int:
    return max(context.sizes[split] for split in context.settings.splits)
