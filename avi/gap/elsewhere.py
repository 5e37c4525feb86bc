"""What the parts of a report are given of rows that no split holds."""

from dataclasses import dataclass, replace
from typing import Any, cast

from avi.engine.step import View
from avi.evidence.none import NoEvidence
from avi.experiment import Experiment
from avi.gap.context import Clock, Context, Progress
from avi.gap.folder import ledger
from avi.population import Points
from avi.settings import GapSettings
from avi.types import Origin, Params, Splits


@dataclass(frozen=True)
class _Seen:
    """A data set whose rows are seen as observations from elsewhere are."""

    view: View

    def fixed(self) -> "_Seen":
        """Return itself: nothing is drawn."""
        return self


def for_rows(
    experiment: Experiment,
    params: Params,
    splits: Splits,
    points: Points,
    *,
    view: View,
    settings: GapSettings,
    on_progress: Progress,
) -> Context:
    """Return the context of some rows: the searches of a report, no evidence, and nothing kept.

    Args:
        experiment: the trained one.
        params: of the checkpoint.
        splits: the run's own rows.
        points: the rows, one or more, of the run or with ids behind those of training.
        view: what a model is given of each.
        settings: of the report on the run's own rows.
        on_progress: hears what is going on; may raise to stop.
    """
    experiment = replace(experiment, dataset=cast(Any, _Seen(view)), evidence=NoEvidence())
    settings = replace(settings, splits=("test",), frontier=0, simulated=0, half_width=None)
    return Context(
        experiment,
        params,
        splits._replace(origin=Origin()),
        settings,
        ledger(None, experiment, params, settings, None),
        on_progress,
        Clock(settings.seconds),
        named={"test": points},
    )
