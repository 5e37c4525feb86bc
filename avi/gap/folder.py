"""What a report finds in the folder of its run, and what it leaves there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from avi.abilities import Decodable
from avi.engine.evaluator import decoded, moments
from avi.experiment import Experiment
from avi.gap.context import Context
from avi.gap.ledger import Ledger, LedgerFiles, identity_of, theta_sha256
from avi.population import Points, joined
from avi.results import against
from avi.results import gap as summaries
from avi.results import ladder as ladders
from avi.results import lams as optima
from avi.results import points as lines
from avi.results.gap import GapSummary, Worst
from avi.results.ladder import Ladder, RowOfRung
from avi.results.lams import Lams
from avi.results.points import Decomposition, Observations
from avi.results.store import Files, packed
from avi.settings import SPLITS, GapSettings, Split
from avi.types import Params, Splits

# What a point's own numbers depend on: more points, or another clock, keep those already there.
DECISIVE = ("num_draws", "search_draws", "width", "budget", "tolerance")


def ledger(
    folder: Path | None,
    experiment: Experiment,
    params: Params,
    settings: GapSettings,
    identity: str | None,
) -> Ledger:
    """Return what earlier reports in `folder` have found of each row; None keeps nothing.

    Args:
        folder: that of the run.
        experiment: whose rows are searched.
        params: the parameters.
        settings: of the report.
        identity: whatever else decides the numbers.
    """
    description = repr((identity, experiment.seed, *(getattr(settings, n) for n in DECISIVE)))
    parts = folder / "gap" / "parts" if folder is not None else None
    files = LedgerFiles(parts, identity_of(params, description))
    num_params = experiment.problem.family.num_params
    if folder is None:
        return Ledger(files, num_params)
    earlier = optima.read(Files(folder)).of(theta_sha256(params), num_params)
    return Ledger(files, num_params, earlier)


def write(
    folder: Path,
    context: Context,
    summary: GapSummary,
    rows: Sequence[Decomposition],
    climbed: tuple[Ladder, list[RowOfRung]] | None,
) -> None:
    """Write a report and its ladder, if it has one; what was of another report goes."""
    against.remove(folder)
    if climbed is None:
        ladders.remove(folder)  # which was of other rows or parameters
    else:
        ladders.write(folder, *climbed)
    lines.write(folder, rows, _observations(context, summary.worst))
    optima.write(folder, _lams(context))
    summaries.write(folder, summary)  # the last: where it stands, the points are complete


def _lams(context: Context) -> Lams:
    """Return what was found, by row id."""
    found = dict(sorted(context.ledger.optima.items()))
    ids = np.array(list(found), np.int64)
    size = context.experiment.problem.family.num_params
    return Lams(
        row=np.asarray(context.splits.origin.rows_of(ids)),
        id=ids,
        lam=np.array([one.lam for one in found.values()], np.float64).reshape(len(ids), size),
        certificate=np.array([one.certificate for one in found.values()]),
        certificate_se=np.array([one.certificate_se for one in found.values()]),
        converged=np.array([one.converged for one in found.values()], bool),
        theta_sha256=np.frombuffer(theta_sha256(context.params), np.uint8),
    )


def _observations(context: Context, worst: Sequence[Worst]) -> Observations:
    """Return the observations themselves of the listed rows; none if x is not one array."""
    sizes, found, stored = list(context.sizes.values()), [], []
    for one in worst:
        number = context.splits.origin.id_of(int(one.row))
        place = number - sum(sizes[: SPLITS.index(cast(Split, one.split))])
        rows = getattr(context.splits, one.split)
        row = jax.tree.map(lambda leaf, place=place: leaf[place], rows)
        x = context.compiled.view(row, jnp.asarray(number), jnp.zeros((), jnp.int32))
        if not isinstance(x, jax.Array):
            return Observations()
        found.append(np.asarray(x))
        stored.append(Points(jax.tree.map(lambda leaf: leaf[None], row), np.array([number])))
    if not found:
        return Observations()
    points = joined(stored)
    return Observations(
        input_rows=np.array([one.row for one in worst]),
        inputs=np.stack(found),
        reconstructions=_reconstructions(context, points, found[0]),
        labels=_labels(context.splits, points.ids),
    )


def _reconstructions(context: Context, points: Points, like: np.ndarray) -> np.ndarray | None:
    """Return what the model makes of the posterior means of images; None of what is no image."""
    problem, params = context.experiment.problem, context.params
    model: Any = problem.model
    if not context.experiment.dataset.image_shape or not isinstance(model, Decodable):
        return None
    means, _ = moments(problem, params.psi, context.lams(points))
    return decoded(model, params.theta, means, like)


def _labels(splits: Splits, ids: np.ndarray) -> np.ndarray | None:
    if splits.labels is None:
        return None
    whole = np.concatenate([splits.labels[split] for split in SPLITS])
    return packed(str(label) for label in whole[ids])
