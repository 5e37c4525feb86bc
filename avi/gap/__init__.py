"""The gap report: what inference loses on a person's own model and data, in nats per datapoint."""

from avi.gap.measure import report
from avi.gap.summary import check, not_finite, require_finite
from avi.process.rooms import make_callable

__all__ = ["check", "not_finite", "report", "require_finite"]

make_callable(__name__)
