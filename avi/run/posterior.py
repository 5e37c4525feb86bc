"""`avi infer`: the posteriors of a run's rows, or of a person's own data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import wrap
from time import perf_counter
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from avi.abilities import Documents, StandardNormalPrior, masks
from avi.engine.evaluator import Evaluator, moments
from avi.engine.step import View
from avi.errors import ConfigError, DataError, NonFiniteError
from avi.gap.acceptance import MEANING, Judge, Judged, settings_for
from avi.gap.context import Context
from avi.gap.elsewhere import for_rows
from avi.gap.same_bound import reported_bound
from avi.mapped import Rows as StoredRows
from avi.mapped import chosen
from avi.population import Points, rows_at
from avi.problem import Problem
from avi.process.grammar import many, verb
from avi.process.terminal import measured, say
from avi.ragged import Document
from avi.randomness import key_for
from avi.results.facts import Cost
from avi.results.posterior import (
    ACCEPTED,
    FILLED,
    FLAGGED,
    IMPUTED,
    REFINED,
    Posterior,
    write,
    write_draws,
    write_held_out,
    write_imputed,
)
from avi.run import held_out
from avi.run.cost import measure
from avi.run.impute import Under, completed
from avi.run.requested import MAKERS, Rows, draws_of, requested, require, require_missing
from avi.run.searches import in_words, left_to_gain
from avi.run.session import Session, open_for_others, open_session, require_same_data, restored
from avi.rundir import RunDir, make_folder
from avi.rundir.bounded import read_tree
from avi.settings import SPLITS, InferSettings, Split
from avi.types import Model, Params, PRNGKey, X

DRAWS = 100  # S of each bound
OF_X = ("decoded", "imputed", "imputed_low", "imputed_high")  # with a column for each of x
OF_JUDGING = ("source", "flags", "certificate", "certificate_se", "khat", "ms")


def main(
    run: Path,
    wanted: InferSettings,
    split: Split = "test",
    data: Path | None = None,
    out: Path | None = None,
    limit: int | None = None,
    checkpoint: int | Literal["best"] | None = None,
    words: Sequence[str] = (),
    hold_out: float = 0.0,
) -> Posterior:
    """Write posterior.npz and posterior.csv: of each row q, whether it stands, and its bound.

    Rows are those of the person's own file, counted from 0.

    Raises:
        NonFiniteError: the bound of a row is not a finite number; the table is written.

    Args:
        run: a run folder.
        wanted: what makes a q accepted, what is tried where it is not, and what else is written.
        split: whose rows, unless `data` names a file of observations (.npz, .npy, .csv or .tsv,
            one row each; documents in the form of the run's own): in the form of the run's own
            file under dataset=file, else, and where grey values are binarised, as a bound scores x.
        data: that file, or for a run on a folder of texts another one. Columns with names are put
            into the order of training, whatever theirs; what
            training left out may be there or not.
        out: folder to write to; by default infer/<split or file name> in the run folder.
        limit: at most so many rows.
        checkpoint: step of the checkpoint, or the best on validation; None: the newest.
        words: changes of the run's configuration, key=value each.
        hold_out: share of the entries seen that are hidden, guessed and compared; 0: none.
    """
    folder = RunDir.open(run)
    tree = read_tree(folder.config_path)
    if words:
        from avi.config.compose import override  # and with it Hydra

        tree = override(tree, words)
    reads_own = data is None or hold_out > 0  # hidden entries are held against training's means
    session = (open_session if reads_own else open_for_others)(tree, folder)
    problem, dataset = session.experiment.problem, session.experiment.dataset
    require(problem, dataset, wanted)
    if hold_out:
        require_missing(problem.model, dataset, f"hold_out={hold_out:g}")
        _require_scorable(problem.model, split, data)
    state, step = restored(session, folder, checkpoint)
    name: str = split
    names: Sequence[str] | None
    origin = session.splits.origin
    if reads_own:
        require_same_data(session, folder)
    if data is None:
        evaluator, points = session.evaluator(DRAWS), session.points(split, limit)
        rows, names = origin.rows_of(points.ids), origin.documents
    else:
        evaluator, points, name, names = of_file(session, data, limit)
        rows = np.arange(len(points))
    if not len(points):
        raise ConfigError(f"the {name} split of this data set is empty. Try split=train.")
    out = out if out is not None else run / "infer" / name
    make_folder(out)
    found, judged = posteriors(session, evaluator, state.params, points, wanted)
    named = None if names is None else [names[row] for row in rows]
    written = found._replace(row=rows)
    title = "name" if session.splits.vocabulary is None else "document"
    columns = {} if origin.columns is None else dict.fromkeys(OF_X, origin.columns)
    table = write(out, written, named, title, columns)
    under = Under(problem, state.params, points, evaluator.view, found.lam)
    if wanted.draws:
        keys = jax.vmap(partial(jax.random.fold_in, _key(session)))(points.ids)
        keys = jax.vmap(lambda key: jax.random.split(key, wanted.draws))(keys)
        draws = draws_of(problem, state.params, found.lam, keys)
        more = {"imputed": completed(under, draws, keys)} if wanted.impute else {}
        write_draws(out, rows, draws=draws, **more)
    cost = measure(session, state.params, evaluator, points)
    ending = ""
    if judged is None and not (points.ids < session.spec.num_data).all():
        left = left_to_gain(session, state.params, points, found.lam, evaluator.view)
        ending = in_words(session, left)
    _tell(problem.bound_name, found, step, cost, ending)
    if judged is not None:
        for line in verdicts(problem, judged, wanted):
            say(line)
    if wanted.impute:
        number = write_imputed(out, written, named, origin.columns)
        say(f"{many(number, 'missing value')} filled in: {out / IMPUTED}, {out / FILLED}")
    if hold_out:
        for line in _held_out(session, evaluator, under, wanted, hold_out, out):
            say(line)
    say(str(table))
    _require_finite(found.bound, rows, table)
    return written


def _require_scorable(model: Model, split: str, data: Path | None) -> None:
    """Raise a ConfigError unless hidden entries have a density and were not trained on."""
    if not isinstance(model, StandardNormalPrior):
        raise ConfigError(f"hold_out: {type(model).__name__} has no density of x given z.")
    if data is None and split == "train":
        raise ConfigError(
            "hold_out is of entries that training has not seen, and split=train is of those that "
            "it has. Try split=test."
        )


def _held_out(
    session: Session,
    evaluator: Evaluator,
    rows: Under,
    wanted: InferSettings,
    share: float,
    out: Path,
) -> list[str]:
    """Hide a share of what was seen, write how well it is guessed, and return it in words."""
    seed = session.experiment.seed
    left, hidden = held_out.hide(rows.points, share, key_for(seed, "hide"))
    if not hidden.any():
        return [f"hold_out={share:g}: no entry of these rows was hidden."]
    alone = replace(wanted, **dict.fromkeys(MAKERS, False))
    found, _ = posteriors(session, evaluator, rows.params, left, alone)
    under = rows._replace(points=left, lam=found.lam)
    scored = held_out.score(under, hidden, session.splits.train, key_for(seed, "impute"))
    numbers = {name: getattr(scored, name) for name in held_out.OF_COLUMN}
    write_held_out(out, session.splits.origin.columns, numbers)
    return held_out.in_words(scored, int(rows.seen.sum()))


def _require_finite(bound: np.ndarray, rows: np.ndarray, table: Path) -> None:
    bad = rows[~np.isfinite(bound)]
    if not len(bad):
        return
    named = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
    raise NonFiniteError(
        f"The bound of {len(bad)} of {len(rows)} rows is not a finite number (row"
        f"{'s' if len(bad) > 1 else ''} {named}). "
        f"{table} has what was found of all. Look at the values of these rows."
    )


def of_file(
    session: Session, data: Path, limit: int | None
) -> tuple[Evaluator, Points, str, Sequence[str] | None]:
    """Return what scores the rows of a person's own file, these rows, its name and theirs."""
    problem, num_data = session.experiment.problem, session.spec.num_data
    names = None
    if (documents := _documents(session, data, limit)) is not None:
        bags, view = documents
        rows, names = bags.rows(max(1, int(bags.lengths.max()))), bags.names
    else:
        rows, view, names = _plain_rows(session, data, limit)
    # Ids behind the training rows: a table has no row for an observation from elsewhere.
    points = Points(rows, num_data + np.arange(len(jax.tree.leaves(rows)[0])))
    return Evaluator(problem, view, num_data, DRAWS), points, _name(data), names


def _name(data: Path) -> str:
    """Return the folder's name: never that of a split, whose posteriors are the run's own."""
    return f"file-{data.stem}" if data.stem in SPLITS else data.stem


def _documents(session: Session, data: Path, limit: int | None) -> tuple[Any, View] | None:
    """Return the documents, in the run's own form; None where x is no document."""
    example, vocabulary = session.spec.example, session.splits.vocabulary
    dataset = session.experiment.dataset
    if not isinstance(example, Document) or vocabulary is None:
        return None
    if not isinstance(dataset, Documents):
        raise ConfigError(
            f"data={data}: {type(dataset).__name__} does not say how it reads other documents."
        )
    bags = dataset.documents_of(data, vocabulary)
    bags = bags.chosen(np.arange(len(bags))[:limit])
    unknown = np.ones(len(bags.vocabulary), bool)
    trained: Any = session.splits.train.ids
    unknown[trained.values[trained.positions()]] = False
    known = replace(bags.without(unknown), vocabulary=vocabulary)
    if left := bags.tokens() - known.tokens():
        say(
            f"{left} of {bags.tokens()} words {verb(left, 'are')} not among the terms of training: "
            "left out."
        )
    if not known.tokens():
        raise DataError(f"{data}: no word of these documents was seen in training.")
    return known, dataset.view


def _plain_rows(
    session: Session, data: Path, limit: int | None
) -> tuple[StoredRows, View, Sequence[str] | None]:
    """Return the rows of a table, their view, and their names if it has a column of them."""
    from avi.datasets.file import File
    from avi.datasets.suspicions import far_values
    from avi.datasets.tables import PLAIN, Missing, observations, read_again

    example, dataset = session.spec.example, session.experiment.dataset
    origin = session.splits.origin
    if isinstance(dataset, File):
        table = dataset.table_of(data, origin)
    else:
        table = read_again(data, PLAIN, origin.layout, origin.columns)
    for line in (*table.understood, *far_values(table, session.spec.support)):
        say(line)
    names = None if table.row_names is None else table.row_names[:limit]
    if isinstance(dataset, File) and dataset.binarize == "none":
        size = session.splits.train.shape[1]
        if table.rows.shape[1] != size:
            raise DataError(
                f"{data}: expected rows of {many(size, 'number')}, as in training; found "
                f"{table.rows.shape[1]}."
            )
        return chosen(dataset.rows_of(table), slice(limit)), dataset.view, names
    gaps = masks(dataset)
    if not gaps and not isinstance(example, jax.Array | np.ndarray):
        raise ConfigError(
            "data=<file> is for data sets with plain rows; this one has structured x."
        )
    size = example["value"].size if gaps else example.size
    missing: Missing = "mask" if gaps else "refuse"
    rows = observations(table, session.spec.support, size, missing)
    return chosen(rows, slice(limit)), scored(session), names


def scored(session: Session) -> View:
    """Return the view of rows that are x itself, as the bound scores it."""
    example, dataset = session.spec.example, session.experiment.dataset
    if masks(dataset):
        return dataset.view

    def plain(row: PyTree, index: Array, visit: Array) -> X:
        del index, visit
        return jax.tree.map(
            lambda leaf, like: jnp.asarray(leaf, like.dtype).reshape(like.shape), row, example
        )

    return plain


def rows_of(session: Session, x: PyTree) -> PyTree[np.ndarray]:
    """Return observations as `scored` takes them: one, or many with a leading axis.

    Raises:
        DataError: they are not of the shape of training, or not of its values.
    """
    from avi.datasets.tables import Table, masked

    example, dataset = session.spec.example, session.experiment.dataset
    gaps = masks(dataset)
    if not gaps and not isinstance(example, jax.Array | np.ndarray):
        return _structured(example, x)
    size = example["value"].size if gaps else example.size
    try:
        if isinstance(x, np.ma.MaskedArray) or np.iscomplexobj(x):
            raise DataError("x: expected plain real numbers; got a masked or a complex array.")
        rows = np.asarray(x, np.float64)
        single = rows.ndim == 1 or (rows.ndim > 1 and rows.shape == np.shape(example))
        rows = rows.reshape(1, -1) if single else rows.reshape(len(rows), -1)
    except (TypeError, ValueError) as error:
        raise DataError(f"x: expected numbers, [n, {size}] or [{size}].") from error
    if rows.shape[1] != size:
        raise DataError(
            f"x: expected {many(size, 'number')} a row, as in training; got {rows.shape[1]}."
        )
    table = Table(rows, "x")
    (table.without_missing() if gaps else table).require(session.spec.support)
    return masked(rows) if gaps else rows


def _structured(example: X, x: PyTree) -> PyTree[np.ndarray]:
    wanted, got = str(jax.tree.structure(example)), str(jax.tree.structure(x))
    if got != wanted:
        raise DataError(f"x: expected the structure of training, {wanted}; got {got}.")

    def many(like: Array, given: Any) -> np.ndarray:
        try:
            rows = np.asarray(given)
        except ValueError as error:
            raise DataError(f"x: expected numbers, parts of shape {like.shape}.") from error
        if rows.dtype.kind not in "biuf":
            raise DataError(f"x: expected numbers, parts of shape {like.shape}.")
        rows = rows[None] if rows.shape == like.shape else rows
        if rows.shape[1:] != like.shape:
            raise DataError(f"x: expected parts of shape {like.shape}; got {rows.shape[1:]}.")
        return rows

    found: PyTree[np.ndarray] = jax.tree.map(many, example, x)
    return found


def posteriors(
    session: Session,
    evaluator: Evaluator,
    params: Params,
    points: Points,
    wanted: InferSettings,
    judge: Judge | None = None,
) -> tuple[Posterior, Judged | None]:
    """Return q(z | x) of the points, under the mode or refined, and what was found of each.

    Args:
        session: the run.
        evaluator: of these rows.
        params: of the checkpoint.
        points: the rows.
        wanted: what is asked.
        judge: of an earlier call with the same wishes, which is ready; None: a new one.
    """
    problem, key = session.experiment.problem, _key(session)
    evaluator.lams(params, rows_at(points, np.array([0])), key)  # compiled: what follows is timed
    began = perf_counter()
    lam = evaluator.lams(params, points, key)
    seconds = perf_counter() - began
    judging: tuple[Context, Judged] | None = None
    if wanted.certify:
        judge = judge or judge_of(session, evaluator, params, points, wanted)
        judged = judge(points, lam, seconds, refines=wanted.budget > 0)
        judging, lam = (judge.context, judged), judged.lam
    mean, deviation = moments(problem, params.psi, lam)
    drawn = key_for(session.experiment.seed, "impute")
    rows = Rows(problem, params, points, evaluator.view, lam, mean, judging, drawn)
    found = Posterior(
        row=points.ids,
        lam=lam,
        mean=mean,
        standard_deviation=deviation,
        bound=evaluator.bounds_at(params, points, key, lam),
        more=requested(rows, wanted),
    )
    if judging is None:
        return found, None
    said = {name: getattr(judging[1], name) for name in OF_JUDGING}
    return found._replace(**said), judging[1]


def judge_of(
    session: Session,
    evaluator: Evaluator,
    params: Params,
    points: Points,
    wanted: InferSettings,
) -> Judge:
    """Return what says of such rows, seen as `evaluator` sees them, whether their q stands."""
    experiment = session.experiment
    return Judge(
        for_rows(
            experiment,
            params,
            session.splits,
            points,
            view=evaluator.view,
            settings=settings_for(experiment.gap, wanted),
            on_progress=lambda what, share: None,
        )
    )


def _key(session: Session) -> PRNGKey:
    return key_for(session.experiment.seed, "infer")


def verdicts(problem: Problem, judged: Judged, wanted: InferSettings) -> list[str]:
    """Return what the terminal says of the rows: why some are flagged, and the sum of it."""
    flags = Counter(flag for why in judged.flags for flag in why.split())
    lines = [
        line
        for flag, number in flags.items()
        for line in wrap(f"{flag}, {many(number, 'row')}: {MEANING[flag]}", 80)
    ]
    if (name := reported_bound(problem)) != problem.bound_name:
        said = f"trained by the {problem.bound_name}; certificates and refining are of the {name}."
        lines += wrap(said, 80)
    sources, total = Counter(judged.source), len(judged.source)
    bought = ""
    if number := len(judged.gains):
        spread = judged.gains.std(ddof=1) / np.sqrt(number) if number > 1 else np.nan
        bought = f" by {measured(judged.gains.mean(), spread).strip()}"
    if wanted.budget and sources[ACCEPTED] < total:
        bought += f" in {judged.seconds:.1f} s"
    lines.append(
        f"accepted {sources[ACCEPTED]} of {total}, refined {sources[REFINED]}{bought}, flagged "
        f"{sources[FLAGGED]}"
    )
    return lines


def _tell(name: str, found: Posterior, step: int, cost: Cost, ending: str) -> None:
    bound = found.bound
    error = bound.std(ddof=1) / np.sqrt(len(bound)) if len(bound) > 1 else np.nan
    say(f"{many(len(bound), 'posterior')} from step {step}")
    if np.isfinite(bound).all():
        say(
            f"{name} {measured(bound.mean(), error).strip()} per datapoint, {DRAWS} draws each"
            f"{ending}"
        )
    say(
        f"one new observation is {_article(cost.kind)}: {cost.milliseconds_one:.3g} ms alone, "
        f"{cost.milliseconds_batch:.3g} ms in a batch of 1000"
    )


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
