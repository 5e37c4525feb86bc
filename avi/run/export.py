"""`avi export`: a run in the format of another tool."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from avi import __version__
from avi.abilities import StandardNormalPrior, drawn, given
from avi.engine.lanes import in_lanes
from avi.errors import ConfigError
from avi.evidence.iwae import pareto_khat
from avi.exports import arviz, tables, tensorboard
from avi.gap.ledger import theta_sha256
from avi.population import Points
from avi.process.grammar import many
from avi.process.terminal import say
from avi.randomness import key_for
from avi.results import lams as optima
from avi.results.run import Run, read
from avi.results.store import Files
from avi.run import posterior
from avi.run.session import Session, Step, open_session, require_same_data, restored
from avi.rundir import RunDir
from avi.rundir.bounded import read_tree
from avi.settings import UNJUDGED, ExportFormat, Split
from avi.types import Params, PRNGKey

FOLDER = "export"
DRAWS = 1000  # of z for each row
FEWEST = 25  # draws that the shape of a tail takes
AT_ONCE = 20  # draws of a row that are scored side by side
MOST = 2e9  # bytes of z, which are kept in memory


def main(
    run: Path,
    to: ExportFormat,
    out: Path | None = None,
    split: Split = "test",
    limit: int | None = None,
    draws: int | None = None,
    checkpoint: Step = None,
) -> Path:
    """Write the run in a format of others, print where it is, and return that.

    Args:
        run: a run folder.
        to: whose format.
        out: the file of ArviZ, else a folder; by default in `export` in the run's folder.
        split: whose posteriors.
        limit: at most so many rows.
        draws: S, of z for each row; None: 1000.
        checkpoint: its step, or the best on validation; None: the newest.

    Raises:
        ConfigError: an extra is not installed, or there is nothing to write.
    """
    folder = RunDir.open(run).path
    if to == "tensorboard":
        written = tensorboard.write(out or folder / FOLDER / to, _measured(folder))
    elif to == "csv":
        written = out or folder / FOLDER / to
        found = tables.write(written, _measured(folder))
        posterior.main(run, UNJUDGED, split, None, written, limit, checkpoint)
        for path in found:
            say(str(path))
        return written
    else:
        arviz.require()
        path = out or folder / FOLDER / f"{split}{arviz.SUFFIX}"
        if path.suffix != arviz.SUFFIX:
            raise ConfigError(
                f"out={path}: to=arviz writes NetCDF. Try out={path.with_suffix(arviz.SUFFIX)}"
            )
        written = _posterior(run, path, split, limit, DRAWS if draws is None else draws, checkpoint)
    say(str(written))
    return written


def _measured(folder: Path) -> Run:
    run = read(folder)
    if not run.measured:
        raise ConfigError(f"{folder} has no bounds yet: there is nothing to write.")
    return run


def _posterior(
    run: Path, path: Path, split: Split, limit: int | None, draws: int, checkpoint: Step
) -> Path:
    if draws < FEWEST:
        raise ConfigError(f"draws={draws}: expected {FEWEST} or more. Try draws={DRAWS}")
    folder = RunDir.open(run)
    session = open_session(read_tree(folder.config_path), folder)
    state, step = restored(session, folder, checkpoint)
    require_same_data(session, folder)
    points = session.points(split, limit)
    if not len(points):
        raise ConfigError(f"the {split} split of this data set is empty. Try split=train.")
    _require_room(session, len(points), draws)
    found = draws_of(session, state.params, points, draws, _certificates(folder, state.params))
    problem = session.experiment.problem
    attributes: dict[str, str | int] = {
        "inference_library": "avi",
        "inference_library_version": __version__,
        "run": folder.path.name,
        "split": split,
        "step": step,
        "model": type(problem.model).__name__,
        "family": type(problem.family).__name__,
        "bound": problem.bound_name,
        "seed": session.experiment.seed,
    }
    say(f"{many(len(points), 'row')} of {split}, {draws} draws each, from step {step}")
    return arviz.write(path, found, attributes)


def _require_room(session: Session, rows: int, draws: int) -> None:
    latent = session.experiment.problem.family.latent
    each = (1 if latent.space == "category" else latent.size) + 3
    each_row = 8.0 * draws * each
    if (size := rows * each_row) > MOST:
        fewer = f"limit={int(MOST / each_row)}" if each_row <= MOST else f"draws={DRAWS} limit=1"
        raise ConfigError(
            f"{many(rows, 'row')} of {many(draws, 'draw')} take {size / 1e9:.1f} GB. Try {fewer}"
        )


def draws_of(
    session: Session,
    params: Params,
    points: Points,
    draws: int,
    certificates: dict[str, tuple[dict[int, float], str]],
) -> arviz.Drawn:
    """Return draws from q(z | x) of the points under the trained mode, and what is known of them.

    Args:
        session: the experiment.
        params: of one checkpoint.
        points: the rows.
        draws: S, for each.
        certificates: by name, a number for each row id and what it is.
    """
    problem, key = session.experiment.problem, key_for(session.experiment.seed, "infer")
    evaluator = session.evaluator(posterior.DRAWS)
    lam, bound = evaluator.lams(params, points, key), evaluator.bounds(params, points, key)
    knows = isinstance(problem.model, StandardNormalPrior)

    def of_row(params: Params, row: PyTree, number: Any, lam: Any) -> tuple[Any, ...]:
        x = evaluator.view(row, number, jnp.zeros((), jnp.int32))
        target, _, _ = problem.local(params.theta, x, params.psi)
        model: Any = target.model
        family = given(problem.family, params.psi)

        def one(key: PRNGKey) -> tuple[Any, ...]:
            z, log_q = drawn(family, lam, key)
            likelihood = model.log_likelihood(target.theta, x, z) if knows else log_q
            return z, model.log_joint(target.theta, x, z), log_q, likelihood

        keys = jax.random.split(jax.random.fold_in(key, number), draws)
        z, joint, log_q, likelihood = jax.lax.map(one, keys, batch_size=AT_ONCE)
        return x, z, joint, log_q, likelihood, pareto_khat(joint - log_q)

    shared = params._replace(phi=())
    x, z, joint, log_q, likelihood, khat = in_lanes(of_row)(shared, points.rows, points.ids, lam)
    statistics = {
        "bound": arviz.Statistic(bound, f"{problem.bound_name} in nats, on draws of its own"),
        "khat": arviz.Statistic(khat, "Pareto shape of exp(lp - log_q) on these draws"),
    }
    for name, (of_id, meaning) in certificates.items():
        values = np.array([of_id.get(int(number), np.nan) for number in points.ids])
        statistics[name] = arviz.Statistic(values, meaning)
    origin = session.splits.origin
    rows, names = origin.rows_of(points.ids), origin.documents
    return arviz.Drawn(
        row=rows if names is None else np.array([names[row] for row in rows]),
        z=z,
        log_joint=joint,
        log_q=log_q,
        log_likelihood=likelihood if knows else None,
        x=x if isinstance(x, np.ndarray) else None,
        statistics=statistics,
    )


def _certificates(folder: RunDir, params: Params) -> dict[str, tuple[dict[int, float], str]]:
    """Return what the gap report knows of each row, where it is of these parameters."""
    found = optima.read(Files(folder.path))
    lam, ids = found.lam, found.id
    if lam is None or ids is None or lam.ndim != 2:
        return {}
    known = found.of(theta_sha256(params), lam.shape[1])
    meanings = {
        "certificate": "nats that lam* of the gap report still lacks, estimated",
        "certificate_se": "standard error of the certificate",
        "converged": "1 where the certificate shows lam* to be converged, 0 where it does not",
    }
    return {
        name: (dict(zip(ids.tolist(), map(float, values), strict=True)), meaning)
        for name, meaning in meanings.items()
        if known and (values := getattr(found, name)) is not None and len(values) == len(ids)
    }
