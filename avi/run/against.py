"""`avi gap against=<file>`: rows from elsewhere beside the run's own."""

from pathlib import Path
from typing import NamedTuple

from avi.engine.step import View
from avi.errors import ConfigError
from avi.gap.against import others, scores
from avi.gap.context import Progress
from avi.population import Points
from avi.report.wording import between
from avi.results import against, points
from avi.results.against import Against
from avi.results.gap import GapSummary
from avi.results.store import Files
from avi.run.posterior import of_file
from avi.run.session import Session
from avi.settings import SPLITS
from avi.types import Params


class Others(NamedTuple):
    """Rows of a person's own file."""

    points: Points
    view: View
    name: str


def read_others(session: Session, data: Path) -> Others:
    """Return the rows of `data`, at most as many as a split of the report has.

    Raises:
        ConfigError: there are none.
        DataError: they are not such as the run was trained on.
    """
    evaluator, points, name, _ = of_file(session, data, session.experiment.gap.num_points)
    if not len(points):
        raise ConfigError(f"against={data}: there are no rows in it.")
    return Others(points, evaluator.view, name)


def measure_against(
    session: Session,
    params: Params,
    rows: Others,
    *,
    folder: Path,
    summary: GapSummary,
    on_progress: Progress,
) -> list[str]:
    """Measure other rows as the report has the run's own; return what the terminal shows.

    Args:
        session: of the run.
        params: of the checkpoint.
        rows: the others.
        folder: of the run, with its report.
        summary: that report, whose last split stands for the run's own rows.
        on_progress: hears what is going on; may raise to stop.
    """
    split = next(split for split in reversed(SPLITS) if split in summary.splits)
    own = [row for row in points.read(Files(folder)) if row.split == split]
    other = others(
        session.experiment,
        params,
        session.splits,
        rows.points,
        view=rows.view,
        settings=session.experiment.gap,
        on_progress=on_progress,
    )
    found = Against(
        data=rows.name,
        split=split,
        n=len(other),
        n_own=len(own),
        converged=sum(bool(row.converged) for row in other),
        scores=scores(own, other),
    )
    against.write(folder, found, other)
    return _lines(found)


def _lines(found: Against) -> list[str]:
    shown = [
        f"against {found.data}: {found.n:.0f} rows beside {found.n_own:.0f} {found.split} rows, "
        f"{found.converged:.0f} converged"
    ]
    for one in found.scores:
        shown.append(f"AUROC {one.name:18} {one.auroc:.3f}, 95 % {between(one.interval)}")
    return shown
