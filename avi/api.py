"""avi in Python: what its commands do, and a run as an object.

Each function takes the words of its command and takes its path. Importing this file imports no jax;
what a function raises is one of `avi.errors`, with the sentence that the shell would show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, PyTree
    from matplotlib.figure import Figure

    from avi.comparison.runs import Row
    from avi.engine.evaluator import Evaluator
    from avi.gap.acceptance import Judge
    from avi.results.calibration import Calibration
    from avi.results.gap import GapSummary
    from avi.results.run import Run as Record
    from avi.run.session import Session
    from avi.settings import InferSettings
    from avi.types import Params

Checkpoint = int | Literal["best"] | None


class Posterior(NamedTuple):
    """q(z | x) of n observations, and whether each stands; None: nobody asked."""

    mean: Float[np.ndarray, "n D"]
    sd: Float[np.ndarray, "n D"]
    lam: Float[np.ndarray, "n P"]
    draws: np.ndarray  # [n, draws, D], categories [n, draws]
    bound: Float[np.ndarray, " n"]  # nats, of this q
    source: tuple[str, ...] | None  # accepted, refined or flagged
    flags: tuple[str, ...] | None  # why an observation is flagged
    certificate: Float[np.ndarray, " n"] | None  # nats that q lacks to the best of its family
    certificate_se: Float[np.ndarray, " n"] | None
    khat: Float[np.ndarray, " n"] | None  # Pareto shape of p(x, z) / q
    ms: Float[np.ndarray, " n"] | None
    more: Mapping[str, np.ndarray]  # what else was asked for, by the name of its column


class Samples(NamedTuple):
    """Draws of a model."""

    z: np.ndarray  # [n, D]
    x: PyTree[np.ndarray]  # leading axis n


@dataclass(frozen=True)
class Run:
    """A run folder, and its model at one checkpoint. Made by `avi.load` and `avi.train`."""

    folder: Path
    checkpoint: Checkpoint = None  # a step, or best: by the validation bound; None: the newest

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration, as config.yaml has it."""
        return self.record.config

    @cached_property
    def record(self) -> Record:
        """All that the folder holds, as typed records; `avi.load` again reads it anew."""
        from avi.results.run import read

        return read(self.folder)

    @property
    def metrics(self) -> Any:
        """The lines of metrics.jsonl: a pandas.DataFrame where pandas is installed, else arrays.

        Columns: split, step, epoch, seconds, gradient_evaluations, bound and bound_se in nats per
        datapoint, num_points.
        """
        from avi.results.metrics import columns

        return _frame(columns(self.record.curves))

    def posterior(
        self, x: PyTree, draws: int = 0, seed: int = 0, **wanted: bool | float
    ) -> Posterior:
        """Return q(z | x) of one observation or of many, and whether it stands.

        As the mode finds it for new data; where that does not stand, it is refined, or flagged.

        Args:
            x: what the bound scores (bits, not grey values), [D] or [n, D]; a table of the run's
                own form for runs on a file. NaN where missing, for models that leave entries out.
            draws: from each q.
            seed: of these draws.
            wanted: as the keys of `avi infer`: certify, tolerance, budget, decoded, psis,
                linear_response, impute. `certify=False` is q alone, in milliseconds.

        Raises:
            ConfigError: a setting is not of its type, or the model does not have what is wanted.
            DataError: x is not of the shape or the values of training.
        """
        import jax

        from avi.cli.infer import wanted as settings_of
        from avi.run.posterior import judge_of, posteriors
        from avi.run.requested import draws_of, require

        _require_whole(draws=draws, seed=seed)
        settings = settings_of(wanted)
        with self._precision():
            session, params, evaluator = self._opened
            require(session.experiment.problem, session.experiment.dataset, settings)
            points = self._points(x)
            judge = None
            if settings.certify:
                judge = self._judges.get(settings) or judge_of(
                    session, evaluator, params, points, settings
                )
                self._judges[settings] = judge
            found, _ = posteriors(session, evaluator, params, points, settings, judge)
            keys = jax.random.split(jax.random.key(seed), (len(points), draws))
            some = found.mean[:, None][:, :0]
            if draws:
                some = draws_of(session.experiment.problem, params, found.lam, keys)
        return Posterior(
            mean=found.mean,
            sd=found.standard_deviation,
            draws=np.asarray(some),
            **{name: getattr(found, name) for name in Posterior._fields[4:]},
            lam=found.lam,
        )

    def bound(self, x: PyTree) -> Float[np.ndarray, " n"]:
        """Return the bound of each under the mode's own q in nats, 100 draws; `x` as above."""
        from avi.randomness import key_for

        with self._precision():
            session, params, evaluator = self._opened
            key = key_for(session.experiment.seed, "infer")
            return evaluator.bounds(params, self._points(x), key)

    def decode(self, z: Float[np.ndarray, "n D"]) -> PyTree[np.ndarray]:
        """Return E[x | z] of one latent [D] or of many [n, D].

        Raises:
            ConfigError: the model has no mean of x given z.
        """
        import jax
        import jax.numpy as jnp

        from avi.abilities import Decodable
        from avi.errors import ConfigError, DataError

        with self._precision():
            session, params, _ = self._opened
            model: Any = session.experiment.problem.model
            if not isinstance(model, Decodable):
                raise ConfigError(f"{type(model).__name__} has no mean of x given z.")
            size = session.experiment.problem.family.latent.size
            expected = f"z: expected finite numbers, [{size}] or [n, {size}]."
            try:
                rows = jnp.atleast_2d(jnp.asarray(np.asarray(z, np.float64), float))
            except (TypeError, ValueError) as error:
                raise DataError(expected) from error
            if rows.ndim != 2 or rows.shape[1] != size or not np.isfinite(rows).all():
                raise DataError(expected)
            like = session.spec.example
            means = jax.jit(jax.vmap(lambda z: model.decode(params.theta, z, like)))(rows)
            return jax.tree.map(np.asarray, means)

    def sample(self, n: int, seed: int = 0) -> Samples:
        """Return n draws of (z, x) from the model."""
        import jax

        _require_whole(n=n, seed=seed)

        with self._precision():
            session, params, _ = self._opened
            model, like = session.experiment.problem.model, session.spec.example
            keys = jax.random.split(jax.random.key(seed), n)
            found = jax.jit(jax.vmap(lambda key: model.sample(params.theta, key, like)))(keys)
            return Samples(*jax.tree.map(np.asarray, found))

    def gap(self, *words: str) -> GapSummary:
        """Measure what inference loses, as `avi gap run=<folder> <words>`."""
        at = () if self.checkpoint is None else (f"checkpoint={self.checkpoint}",)
        report = gap(self, *at, *words)
        self.__dict__.pop("record", None)  # which is of the folder before
        return report

    def figure(self, name: Literal["elbo", "gap"] = "elbo") -> Figure:
        """Return a figure of the run's page: its bounds, or its gap report."""
        from avi.report.run_page import figure

        return figure(self.record, name)

    def __repr__(self) -> str:
        return f"Run({self.folder}): {self._headline()}"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(str(self.folder))}</b><br>{escape(self._headline())}</p>"

    def _headline(self) -> str:
        from avi.report.run_page import headline

        return headline(self.record)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Compute in the run's precision."""
        import jax

        with _jax_as_it_was():
            jax.config.update("jax_enable_x64", self.config.get("precision") == "float64")
            yield

    @cached_property
    def _judges(self) -> dict[InferSettings, Judge]:
        """What earlier calls have compiled."""
        return {}

    @cached_property
    def _opened(self) -> tuple[Session, Params, Evaluator]:
        from avi.engine.evaluator import Evaluator
        from avi.run.posterior import DRAWS, scored
        from avi.run.session import open_for_others, restored
        from avi.rundir import RunDir

        run = RunDir.open(self.folder)
        session = open_for_others(self.config, run)
        state, _ = restored(session, run, self.checkpoint)
        problem, num_data = session.experiment.problem, session.spec.num_data
        return session, state.params, Evaluator(problem, scored(session), num_data, DRAWS)

    def _points(self, x: PyTree) -> Any:
        import jax

        from avi.population import Points
        from avi.run.posterior import rows_of

        session = self._opened[0]
        rows = rows_of(session, x)
        number = len(jax.tree.leaves(rows)[0])
        # Ids behind the training rows: a table has no row for an observation from elsewhere.
        return Points(rows, session.spec.num_data + np.arange(number))


def load(folder: str | Path, checkpoint: Checkpoint = None) -> Run:
    """Return the run in `folder`; neither its data nor jax is needed before a number is asked for.

    Raises:
        ConfigError: it is not a run folder, or no folder at all.
    """
    from avi.errors import ConfigError

    whole = isinstance(checkpoint, int | np.integer) and not isinstance(checkpoint, bool)
    if not (checkpoint is None or checkpoint == "best" or (whole and checkpoint >= 0)):
        raise ConfigError(
            f"checkpoint: expected a step, best, or None for the newest; got {checkpoint!r}."
        )
    run = Run(_folder(folder).absolute(), checkpoint)
    _ = run.record
    return run


def train(words: Sequence[str] = ()) -> Run:
    """Train one run, as `avi train <words>`, and return it.

    Raises:
        Refusal: as the command would say.
    """
    from avi.cli.words import require_once
    from avi.config.compose import compose
    from avi.launch.places import train_here

    words = _words(words)
    require_once(words)
    with _jax_as_it_was():
        return load(train_here(compose(words)[0]))


def import_weights(words: Sequence[str]) -> Run:
    """Write a run from weights that were trained elsewhere, as `avi import <words>`; return it.

    Raises:
        Refusal: as the command would say.
    """
    from importlib import import_module

    from avi.launch.places import train_here

    job = import_module("avi.cli.import").prepared(_words(words))  # a name that Python keeps
    with _jax_as_it_was():
        return load(train_here(job))


def gap(run: Run | str | Path, *words: str) -> GapSummary:
    """Write and return the gap report of a run, as `avi gap run=<folder> <words>`.

    Raises:
        Refusal: as the command would say; the report is written even where it contradicts itself.
    """
    from avi.cli.gap import prepared

    _, work = prepared([f"run={_folder(run)}", *_words(words)])
    with _jax_as_it_was():
        return work()


def calibrate(run: Run | str | Path, *words: str) -> Calibration:
    """Calibrate a run on rows of its own model, as `avi calibrate run=<folder> <words>`.

    Returns:
        The record that `calibration.json` holds.

    Raises:
        Refusal: as the command would say.
    """
    from avi.cli.calibrate import prepared

    _, work = prepared([f"run={_folder(run)}", *_words(words)], quiet=False)
    with _jax_as_it_was():
        return work()


def infer(run: Run | str | Path, *words: str) -> Any:
    """Write and return the posteriors of a run's rows or a file's, as `avi infer run=<folder> ...`.

    Returns:
        A `results.posterior.Posterior`: row, lam, mean, standard_deviation, bound, whether each q
        stands, and in `more` what else was asked for.
    """
    from avi.cli.infer import prepared

    _, work = prepared([f"run={_folder(run)}", *_words(words)])
    with _jax_as_it_was():
        return work()


def export(run: Run | str | Path, *words: str) -> Path:
    """Write a run in the format of another tool, as `avi export run=<folder> <words>`.

    Returns:
        The file of ArviZ or TensorBoard, the folder of tables.
    """
    from avi.cli.export import prepared

    folder = run.folder if isinstance(run, Run) else Path(run)
    _, work = prepared([f"run={folder}", *words])
    with _jax_as_it_was():
        return work()


def compare(runs: Sequence[Run | str | Path], out: str | Path | None = None) -> list[Row]:
    """Write the comparison of several runs, as `avi compare <folders>`, and return its rows."""
    from avi.cli.compare import main
    from avi.errors import ConfigError

    if isinstance(runs, Run | str | Path) or not isinstance(runs, Iterable):
        raise ConfigError(f"runs: expected a list of runs or of their folders; got {runs!r}.")
    folders = [_folder(run) for run in runs]
    if not folders:
        raise ConfigError("Which runs? The list is empty.")
    return main(folders, None if out is None else _folder(out, "out")).rows


def _folder(run: Any, name: str = "run") -> Path:
    """Return the folder of a run, or that is one.

    Raises:
        ConfigError: it is neither.
    """
    from avi.errors import ConfigError

    if isinstance(run, Run):
        return run.folder
    if not isinstance(run, str | Path):
        raise ConfigError(f"{name}: expected a run or the path of a folder; got {run!r}.")
    return Path(run).expanduser()


def _words(words: Any) -> list[str]:
    """Return the words of a command.

    Raises:
        ConfigError: they are no list of words.
    """
    from avi.errors import ConfigError

    alone = isinstance(words, str) or not isinstance(words, Iterable)
    for word in [words] if alone else words:
        if alone or not isinstance(word, str):
            raise ConfigError(
                f'words: expected words such as "train.epochs=20", each a text; got {word!r}.'
            )
    return list(words)


def _require_whole(**numbers: Any) -> None:
    from avi.errors import ConfigError

    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise ConfigError(f"{name} must be a whole number, 0 or more; got {value!r}.")


@contextmanager
def _jax_as_it_was() -> Iterator[None]:
    """Put back the precision that a run needs and others may not."""
    import jax

    before = jax.config.read("jax_enable_x64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def _frame(columns: Mapping[str, Sequence[Any]]) -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        return {name: np.array(values) for name, values in columns.items()}
    return pandas.DataFrame(columns)
