"""What every command that computes begins with: an experiment with its data, and its state."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

from avi.abilities import Forgetful, OwnUnits
from avi.config.build import checked, load_experiment
from avi.datasets.fetch import cache_folder
from avi.engine import devices, placement
from avi.engine.evaluator import Evaluator
from avi.engine.feed import fits, mapped
from avi.engine.step import TrainState, init_state
from avi.errors import CheckpointError, ConfigError, DataError
from avi.experiment import Experiment
from avi.mapped import chosen as chosen_rows
from avi.models.standardised import standardised
from avi.population import Points
from avi.problem import require_shapes
from avi.randomness import key_for
from avi.report.wording import printable
from avi.run.form import kept
from avi.run.weights import Brought, bring
from avi.rundir import RunDir, checkpoints
from avi.rundir.trees import unflatten_like
from avi.settings import KEYS, SPLITS, Split
from avi.types import DataSpec, Params, PRNGKey, Scale, Splits

PLACES = tuple(key.name.split(".") for key in KEYS if key.path is not None and "." in key.name)
OF_PLACE = ("output=", "overwrite=")
Step = int | Literal["best"] | None  # of a checkpoint: best by validation, None: the newest


class Session(NamedTuple):
    """An experiment with its data in memory."""

    experiment: Experiment
    splits: Splits
    spec: DataSpec

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training set."""
        return self.spec.num_data // self.batch_size

    @property
    def batch_size(self) -> int:
        """B, rows per step: no more than there are, as no row may be in a step twice."""
        return min(self.experiment.train.batch_size or self.spec.num_data, self.spec.num_data)

    def evaluator(self, num_draws: int | None = None) -> Evaluator:
        """Return the views of the problem on the recorded data, with `num_draws` per bound."""
        view = self.experiment.dataset.fixed().view
        return Evaluator(self.experiment.problem, view, self.spec.num_data, num_draws)

    def points(self, split: Split, limit: int | None = None) -> Points:
        """Return the rows of a split, or a recorded random `limit` of them, in row order."""
        rows = getattr(self.splits, split)
        sizes = [len(jax.tree.leaves(getattr(self.splits, name))[0]) for name in SPLITS]
        number = SPLITS.index(split)
        chosen = np.arange(sizes[number])
        if limit is not None and limit < sizes[number]:
            # A function of the split alone: every mode, seed and epoch looks at the same rows.
            chosen = np.sort(np.random.default_rng(number).permutation(sizes[number])[:limit])
        rows = jax.tree.map(lambda leaf: chosen_rows(leaf, chosen), rows)
        return Points(rows, sum(sizes[:number]) + chosen)

    def data_sha256(self) -> str:
        """Return the identity of the rows of all splits."""
        from avi.datasets.base import splits_sha256

        return splits_sha256(self.splits)

    def initial_state(self, brought: Params | None = None) -> TrainState:
        """Return the state before the first step, from the parameters of elsewhere if given.

        Without, from `train.start` if that names a run.
        """
        if brought is not None:
            return jax.jit(self._state)(brought)
        # One compilation in place of one for each of some fifty small operations.
        options = devices.for_one_call()
        key = key_for(self.experiment.seed, "init")
        params = jax.jit(self._params, compiler_options=options)(key)
        params = self._started(params)
        return jax.jit(lambda params: self._state(params))(params)

    def require_start(self) -> None:
        """Refuse batches that lose rows, and a start or weights that are none of this problem."""
        settings, number = self.experiment.train, self.spec.num_data
        if isinstance(self.optimizers.theta, Forgetful) and self.batch_size < number:
            raise ConfigError(
                "a step of EM forgets all rows but those of the last batch. "
                f"Try train.batch_size=null (all {number} rows) or optimizer.theta=adam."
            )
        if settings.start is not None or settings.weights is not None:
            params = self.state_shapes().params
            self._started(params)
            self.brought(params)

    def brought(self, params: Params) -> Brought | None:
        """Return what `train.weights` names in the shapes of `params`, None if it names nothing."""
        settings, problem = self.experiment.train, self.experiment.problem
        return None if settings.weights is None else bring(problem, params, settings)

    def state_shapes(self) -> TrainState:
        """Return shapes and dtypes of the state, of which nothing is computed."""
        shapes: TrainState = jax.eval_shape(
            lambda: self._state(self._params(key_for(self.experiment.seed, "init")))
        )
        return shapes

    @property
    def optimizers(self) -> Params:
        """The two optimisers; that of a frozen theta does nothing."""
        optimizers = self.experiment.optimizers
        frozen = self.experiment.train.freeze == "theta"
        return optimizers._replace(theta=optax.set_to_zero()) if frozen else optimizers

    def restore(self, checkpoint: checkpoints.Checkpoint) -> TrainState:
        """Return the state of a checkpoint; CheckpointError if it is of another shape."""
        own = {name: array for name, array in checkpoint.arrays.items() if name.startswith(".")}
        state: TrainState = unflatten_like(self.state_shapes(), own)
        if state.step != checkpoint.step:
            raise CheckpointError(
                f"The checkpoint of step {checkpoint.step} holds the state of step {state.step}."
            )
        return jax.tree.map(jax.numpy.asarray, state)

    def _started(self, params: Params) -> Params:
        """Return `params`, or those of the run that `train.start` names."""
        settings = self.experiment.train
        if settings.start is None:
            return params
        return started(params, Path(settings.start), settings.start_checkpoint)

    def _params(self, key: PRNGKey) -> Params:
        return self.experiment.problem.init(key, self.spec)

    def _state(self, params: Params) -> TrainState:
        return init_state(self.experiment.problem, self.optimizers, params)


def open_session(tree: Mapping[str, Any], run: RunDir | None = None) -> Session:
    """Build what a plain config tree describes and load its data.

    A relative path of the data is sought here, then where `run`, whose tree it is, was begun.
    """
    experiment = _experiment(tree, run)
    from avi.datasets.base import describe

    splits = experiment.dataset.load()
    if not fits(splits.train, experiment.device_budget, placement.chosen()):
        splits = splits._replace(train=mapped(splits.train, cache_folder()))
    experiment = _scaled(experiment, splits.scale)
    spec = describe(experiment.dataset, splits)
    session = Session(experiment, splits, spec)
    _require_rows(session)
    require_shapes(experiment.problem, spec)
    return session


def open_for_others(tree: Mapping[str, Any], run: RunDir) -> Session:
    """Return a run's session for rows from elsewhere: its own are not read if their form is kept.

    Its splits then hold one row each, without a value.
    """
    from avi.datasets.base import describe

    known = run.read_run()
    splits = kept(run.path, tuple(map(str, known.get("columns") or ())) or None)
    number = known.get("num_data")
    if splits is None or type(number) is not int:
        return open_session(tree, run)
    experiment = _scaled(_experiment(tree, run), splits.scale)
    spec = describe(experiment.dataset, splits)._replace(num_data=number)
    require_shapes(experiment.problem, spec)
    return Session(experiment, splits, spec)


def _experiment(tree: Mapping[str, Any], run: RunDir | None) -> Experiment:
    tree = checked(tree)
    devices.configure(tree["device"], tree["precision"])
    placement.choose(tree.mesh)
    return load_experiment(tree if run is None else seen_from(run, tree))


def _scaled(experiment: Experiment, scale: Scale | None) -> Experiment:
    """Return the experiment whose model and encoders see x standardised, if it has a scale."""
    problem = experiment.problem
    if scale is None or isinstance(problem.model, OwnUnits):
        return experiment
    return replace(experiment, problem=replace(problem, model=standardised(problem.model, scale)))


def seen_from(run: RunDir, tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `tree` with the paths that lead nowhere from here, but did where the run was begun."""
    begun, seen = str(run.read_run().get("directory") or ""), dict(tree)
    for block, name in PLACES:
        node = seen[block]
        path = node.get(name) if isinstance(node, Mapping) else None
        if not isinstance(path, str) or os.path.exists(os.path.expanduser(path)):
            continue
        there = os.path.join(begun, path)
        if os.path.exists(there):
            seen[block] = {**node, name: there}
    return seen if seen != dict(tree) else tree


def data_sha256(tree: Mapping[str, Any]) -> str:
    """Return the identity of the rows that a plain config tree names, of which none is kept."""
    from avi.datasets.base import splits_sha256

    return splits_sha256(load_experiment(checked(tree)).dataset.load())


def _require_rows(session: Session) -> None:
    """Refuse a gap report on a split without rows."""
    settings = session.experiment.gap
    filled = [split for split in SPLITS if len(session.points(split, 1))]
    drawn = settings.num_points and settings.rows is None
    if drawn and (empty := [s for s in settings.splits if s not in filled]):
        raise ConfigError(
            f"gap.splits={_listed(settings.splits)}: the {empty[0]} split of this data set is "
            f"empty. Try gap.splits={_listed(filled)}, or gap.num_points=0 in its place: no report."
        )


def _listed(splits: Sequence[Split]) -> str:
    return f"[{','.join(splits)}]"


def restored(session: Session, run: RunDir, step: Step = None) -> tuple[TrainState, int]:
    """Return the newest state of a run, that of `step` or the best on validation, and its step."""
    checkpoint = _checkpoint(run, step)
    return session.restore(checkpoint), checkpoint.step


def _checkpoint(run: RunDir, step: Step) -> checkpoints.Checkpoint:
    return checkpoints.load(run, checkpoints.best(run) if step == "best" else step)


def require_same_data(session: Session, run: RunDir) -> None:
    """Raise DataError if the rows are not those that the run began with, where it recorded them."""
    before, now = run.read_run().get("data_sha256"), session.data_sha256()
    if before not in (None, now):
        raise DataError(
            f"The rows of dataset {type(session.experiment.dataset).__name__} have changed since "
            f"{run.path} began (SHA-256 {str(before)[:12]}, now {now[:12]}): its numbers are of "
            "other rows. Put the data back as they were, or train on these: avi train "
            f"{_words(run)}output=<another folder>."
        )


def _words(run: RunDir) -> str:
    """Return the words that a run was trained with, but for its place."""
    words = [str(word) for word in run.read_run().get("overrides") or ()]
    return printable("".join(f"{shlex.quote(w)} " for w in words if not w.startswith(OF_PLACE)))


def started(params: Params, folder: Path, step: Step = None) -> Params:
    """Return `params` with theta, and phi and psi where both have the same shapes, from a run."""
    arrays = _checkpoint(RunDir.open(folder), step).arrays
    try:
        theta = unflatten_like(params.theta, arrays, ".params.theta")
    except CheckpointError as error:
        raise ConfigError(f"train.start={folder} holds another model. {error}") from error
    try:
        phi = unflatten_like(params.phi, arrays, ".params.phi")
        psi = unflatten_like(params.psi, arrays, ".params.psi")
    except CheckpointError:
        phi, psi = params.phi, params.psi
    return Params(theta, phi, psi)
