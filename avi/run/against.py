"""`avi gap against=<file or data set>`: rows from elsewhere beside the run's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from avi.config.build import load_dataset
from avi.engine.step import View
from avi.errors import ConfigError, DataError
from avi.experiment import is_held
from avi.gap.against import others, scores
from avi.gap.context import Progress
from avi.population import Points, choose, sizes_of
from avi.report.wording import between
from avi.results import against, points
from avi.results.against import Against
from avi.results.gap import GapSummary
from avi.results.store import Files
from avi.run.posterior import of_file
from avi.run.session import Session
from avi.settings import SPLITS, Split
from avi.types import Params, X


class Named(NamedTuple):
    """A data set by the name that it has in `avi list dataset`."""

    name: str
    tree: Mapping[str, Any]  # its configuration


class Others(NamedTuple):
    """Rows of a person's own file, or of another data set."""

    points: Points
    view: View
    name: str
    rows: Int[np.ndarray, " n"]  # their places in that file or data set


def read_others(session: Session, data: Path | Named) -> Others:
    """Return the rows of `data`, at most as many as a split of the report has.

    Raises:
        ConfigError: there are none.
        DataError: they are not such as the run was trained on.
    """
    if isinstance(data, Named):
        return _of_dataset(session, data)
    evaluator, points, name, _ = of_file(session, data, session.experiment.gap.num_points)
    if not len(points):
        raise ConfigError(f"against={data}: there are no rows in it.")
    return Others(points, evaluator.view, name, np.arange(len(points)))


def _of_dataset(session: Session, data: Named) -> Others:
    """Return the test rows of another data set, drawn as a report draws; else its training rows."""
    dataset = load_dataset({"dataset": data.tree})
    model = session.experiment.problem.model
    if not is_held(model, dataset):
        raise DataError(
            f"against={data.name}: its rows are {dataset.support}, and the likelihood of "
            f"{type(model).__name__} is a density of {model.support} data."
        )
    splits = dataset.load()
    split: Split = "test" if sizes_of(splits)["test"] else "train"
    chosen = choose(splits, split, 0, session.experiment.gap.num_points)
    view = dataset.fixed().view
    wanted = _shapes(session.spec.example)
    got = _shapes(view(jax.tree.map(lambda leaf: leaf[0], chosen.rows), 0, jnp.int32(0)))
    if wanted != got:
        raise DataError(
            f"against={data.name}: its rows are of shape {got}, those of the run {wanted}. Where "
            "shapes differ, a file of rows made alike serves: against=<file>."
        )
    # Ids behind the training rows, in a row: a table has none for an observation from elsewhere.
    points = Points(chosen.rows, session.spec.num_data + np.arange(len(chosen)))
    return Others(points, view, data.name, splits.origin.rows_of(chosen.ids))


def _shapes(x: X) -> Any:
    """Return the shape of an observation, or of each of its parts."""
    return jax.tree.map(lambda leaf: "x".join(map(str, leaf.shape)) or "one number", x)


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
    named = [replace(row, row=int(rows.rows[row.row])) for row in other]
    against.write(folder, found, named)
    return _lines(found)


def _lines(found: Against) -> list[str]:
    shown = [
        f"against {found.data}: {found.n:.0f} rows beside {found.n_own:.0f} {found.split} rows, "
        f"{found.converged:.0f} converged"
    ]
    for one in found.scores:
        shown.append(f"AUROC {one.name:18} {one.auroc:.3f}, 95 % {between(one.interval)}")
    return shown
