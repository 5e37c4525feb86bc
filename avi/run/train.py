"""`avi train`: fit a model under one mode, then measure what it reached."""

import contextlib
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from avi import gap
from avi.engine import devices
from avi.engine.loop import Chunk, Loop
from avi.engine.step import TrainState
from avi.errors import ConfigError, NonFiniteError, Preempted, ResourceError, ValidityError
from avi.phi import is_amortized
from avi.process.signals import Stop
from avi.process.terminal import Progress, say
from avi.randomness import key_for
from avi.run.cost import measure
from avi.run.measure import lines as gap_lines
from avi.run.session import Session, open_session, require_same_data
from avi.run.snapshot import write_snapshot
from avi.run.topics import write_topics
from avi.rundir import RunDir, atomic_write, checkpoints, instruction_set, versions
from avi.rundir.trees import flatten_tree
from avi.settings import SPLITS, Split
from avi.types import Params


class Line(NamedTuple):
    """One line of metrics.jsonl and the moment that goes to timing.jsonl."""

    step: int
    split: Split
    value: float
    standard_error: float
    num_points: int


def main(
    tree: Mapping[str, Any],
    choices: Mapping[str, str],
    overrides: list[str],
    folder: Path,
    resume: bool,
) -> None:
    """Train in `folder`; the last line printed is the report's path.

    Raises:
        ConfigError, DataError, BusyError, CheckpointError, ResourceError: what cannot be done.
        NonFiniteError: a bound or gradient stopped being finite.
        Preempted: a signal came; everything is saved and the same command goes on.
    """
    with Stop() as stop:
        session = open_session(tree)
        stop.check()
        with _folder(tree, folder, resume) as run:
            _train(_Training(session, run, stop), tree, choices, overrides, resume)


def _train(
    training: "_Training",
    tree: Mapping[str, Any],
    choices: Mapping[str, str],
    overrides: list[str],
    resume: bool,
) -> None:
    run = training.run_dir
    # A run that was killed before its first checkpoint has nothing to lose: it begins again.
    begun = resume and (checkpoints.steps(run) or run.metrics())
    try:
        state = training.resume(tree) if begun else training.begin(tree, choices, overrides)
        state = training.run(state)
        training.finish(state)
    except ValidityError:
        raise
    except Exception as error:
        # A full disk that ended the run refuses its status too: the first error is the one.
        with contextlib.suppress(ResourceError):
            ending = "interrupted" if isinstance(error, Preempted) else "failed"
            training.ended(ending)
        raise


def _folder(tree: Mapping[str, Any], folder: Path, resume: bool) -> RunDir:
    if resume:
        return RunDir.open(folder).locked()
    return RunDir.create(folder, bool(tree.get("overwrite", False)))


class _Training:
    """One run under way: what its phases share."""

    def __init__(self, session: Session, run: RunDir, stop: Stop) -> None:
        self.session = session
        self.run_dir = run
        self.stop = stop
        self.settings = session.experiment.train
        self.steps_per_epoch = session.steps_per_epoch
        self.num_steps = self.settings.epochs * self.steps_per_epoch
        self.evaluator = session.evaluator(self.settings.eval_draws)
        self.seconds = 0.0  # of training, over all starts, compilation apart
        self.first_step = 0  # of this start
        self.valid: tuple[int, float] | None = None  # step and validation bound
        self.starts: list[Any] = []  # of run.json; the last is this one

    @cached_property
    def loop(self) -> Loop:
        """The steps, with the rows in place."""
        experiment = self.session.experiment
        return Loop(
            experiment.problem,
            self.session.optimizers,
            experiment.dataset.view,
            self.session.splits.train,
            key_for(experiment.seed, "train"),
            batch_size=self.session.batch_size,
            log_every=self.settings.log_every,
            device_budget=experiment.device_budget,
        )

    def begin(
        self, tree: Mapping[str, Any], choices: Mapping[str, str], overrides: list[str]
    ) -> TrainState:
        """Write what is known before the first step, and the checkpoint of step 0."""
        shapes, loop = self.session.state_shapes(), self.loop
        self.session.require_start(shapes.params)
        num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
        self.run_dir.require_free(3 * num_bytes)
        self.run_dir.write_config(tree)
        self.run_dir.update_run(
            choices=dict(choices),
            overrides=overrides,
            starts=[],
            bit_exact=devices.repeats(),
            **self._facts(shapes),
        )
        for sentence in _cold_start(self.session, shapes):
            say(sentence)
        self._started(0)
        # Beside what else comes before the first step: a tenth of an MNIST VAE's time until then.
        with ThreadPoolExecutor(1) as beside:
            compiling = beside.submit(loop.compile, shapes)
            state = self.session.initial_state()
            self._save(state, 0)
            loop.order_of(0)
            compiling.result()
        self.stop.check()
        return state

    def resume(self, tree: Mapping[str, Any]) -> TrainState:
        """Go back to the newest valid checkpoint, and the logs to where they were then."""
        on_damage = tree.get("resume_damaged", "skip")
        checkpoint = checkpoints.load(self.run_dir, on_damage=on_damage)
        for sentence in checkpoint.damaged:
            say(sentence)
        require_same_data(self.session, self.run_dir)
        if checkpoint.step > self.num_steps:
            raise ConfigError(
                f"{self.run_dir.path} has trained {checkpoint.step // self.steps_per_epoch} epochs "
                f"already: train.epochs={self.settings.epochs} would not take them back. Try a new "
                "run, or `avi gap` with checkpoint=<step> for an earlier state of this one."
            )
        state = self.session.restore(checkpoint)
        manifest = checkpoint.manifest
        self.run_dir.truncate_metrics(manifest.metrics_offset)
        self.run_dir.truncate_timing(manifest.timing_offset)
        self.seconds = float(manifest.extra.get("seconds") or 0.0)
        self.run_dir.write_config(tree)
        before = self.run_dir.read_run().get("device")
        if not checkpoint.bit_exact or before not in (None, devices.description()):
            say("This machine or its versions differ from those of the checkpoint: not bit-exact.")
            self.run_dir.update_run(bit_exact=False)
        self._started(checkpoint.step)
        say(f"Resuming {self.run_dir.path} at step {checkpoint.step}.")
        return state

    def run(self, state: TrainState) -> TrainState:
        """Train to the last step, logging, evaluating and saving on the way."""
        name = self.session.experiment.problem.bound_name
        self.first_step = int(state.step)
        chunks = self.loop.fit(state, self.num_steps)
        with Progress(self.num_steps, self.steps_per_epoch, name) as progress:
            for chunk in chunks:
                state = chunk.state
                self._after(chunk, progress)
        return state

    def _after(self, chunk: Chunk, progress: Progress) -> None:
        step = chunk.first_step + len(chunk.value)
        if chunk.first_step == self.first_step:
            compiling = round(self.loop.compile_seconds, 4)
            self.run_dir.append_timing([{"compile_seconds": compiling}])
        self.seconds += chunk.seconds
        if not chunk.finite:
            raise self._non_finite_step(chunk)
        self._log(_train_lines(chunk, self.settings.log_every, self.session.batch_size))
        epoch, left = divmod(step, self.steps_per_epoch)
        last = step == self.num_steps
        if not left and (
            last or (self.settings.eval_every and epoch % self.settings.eval_every == 0)
        ):
            self._log(self._evaluate(chunk.state, step, ("valid",)))
        if not left and (last or epoch % self.settings.save_every == 0):
            self._save(chunk.state, step)
        elif self.stop.caught is not None:
            self._save(chunk.state, step)
        self.stop.check()
        progress.update(step, float(chunk.value.mean()), len(chunk.value) / chunk.seconds)

    def finish(self, state: TrainState) -> None:
        """Evaluate, report the gap, draw, and say where it all is."""
        run, session = self.run_dir, self.session
        done = {(line["step"], line["split"]) for line in self._measurements()}
        splits: tuple[Split, ...] = ("valid", "test")
        due = tuple(split for split in splits if (self.num_steps, split) not in done)
        self._log(self._evaluate(state, self.num_steps, due))
        self.stop.check()
        remarks = _remarks(session, state)
        run.update_run(remarks=remarks)
        if self.settings.report:
            run.update_run(new_observation=measure(session, state.params)._asdict())
            write_snapshot(session, state.params, run.path)
        write_topics(session, state.params, run.path)
        self.stop.check()
        summary = self._report_gap(state) if session.experiment.gap.num_points else None
        # The training is done whatever its report found: a remark here, exit 5 of `avi gap`.
        lost = gap.not_finite(summary) if summary else []
        run.update_run(remarks=[*remarks, *lost])
        page = self._page()
        self.ended("done")
        for line in [*self._summary(), *(gap_lines(summary) if summary else [])]:
            say(line)
        say(str(page))
        if summary:
            gap.check(summary, strict=session.experiment.gap.strict)

    def _page(self) -> Path:
        """Return the report if it is wanted, else the folder."""
        if not self.settings.report:
            return self.run_dir.path
        from avi.report.run_page import write_report

        return write_report(self.run_dir.path, status="done")

    def _report_gap(self, state: TrainState) -> dict[str, Any]:
        session = self.session
        return gap.report(
            session.experiment,
            state.params,
            session.splits,
            settings=session.experiment.gap,
            run=self.run_dir,
            on_progress=lambda *_: self.stop.check(),
        )

    def _evaluate(self, state: TrainState, step: int, splits: tuple[Split, ...]) -> list[Line]:
        """Return the held-out bounds: the same rows and the same draws at every call."""
        lines = []
        for split in splits:
            points = self.session.points(split, self.settings.eval_points)
            if not len(points):
                continue
            key = key_for(self.session.experiment.seed, "evaluate")
            bounds = self.evaluator.bounds(state.params, points, key)
            if not np.isfinite(bounds).all():
                raise self._non_finite_evaluation(state.params, step, split, points.ids, bounds)
            error = bounds.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else 0.0
            lines.append(Line(step, split, bounds.mean(), error, len(points)))
            if split == "valid":
                self.valid = step, float(bounds.mean())
        return lines

    def _log(self, lines: list[Line]) -> None:
        self.run_dir.append_metrics(self._records(lines))
        self.run_dir.append_timing(
            {"step": line.step, "split": line.split, "seconds": round(self.seconds, 4)}
            for line in lines
        )

    def _records(self, lines: list[Line]) -> list[dict[str, Any]]:
        per_step = self.session.experiment.problem.gradient_evaluations() * self.session.batch_size
        return [
            {
                "step": line.step,
                "epoch": line.step // self.steps_per_epoch,
                "split": line.split,
                "gradient_evaluations": line.step * per_step,
                "value": line.value,
                "standard_error": line.standard_error,
                "num_points": line.num_points,
            }
            for line in lines
        ]

    def _save(self, state: TrainState, step: int) -> None:
        valid = self.valid[1] if self.valid is not None and self.valid[0] == step else None
        extra = {"seconds": self.seconds, "valid": valid}
        arrays = flatten_tree(state)
        self._require_finite(state.params, arrays, step)
        checkpoints.save(self.run_dir, step, arrays, extra, keep_last=self.settings.keep_last)

    def _require_finite(self, params: Params, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Refuse to save what a finite gradient and too large a step made of the parameters."""
        bad = [
            name
            for name, array in arrays.items()
            if name.startswith(".params") and not np.isfinite(array).all()
        ]
        if bad:
            # The last step alone can have done it: the one after it would not have been finite.
            path = self._dump(params, step - 1, "train", *self.loop.rows_of(step - 1), np.zeros(0))
            raise NonFiniteError(
                f"{bad[0]} is not finite after step {step}. {path} holds the rows of that step "
                f"and the norms of the parameters. {self._last_good()} Try a smaller "
                "optimizer.theta.learning_rate or optimizer.phi.learning_rate."
            )

    def _last_good(self) -> str:
        steps = checkpoints.steps(self.run_dir)
        return f"The last good checkpoint is step {steps[-1]}." if steps else "There is none saved."

    def _started(self, step: int) -> None:
        import os
        import socket

        start = {
            "time": _now(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "step": step,
            "versions": versions(),
            "instruction_set": instruction_set(),
        }
        self.starts = [*self.run_dir.read_run().get("starts", []), start]
        self.run_dir.update_run(
            status="running",
            starts=self.starts,
            machine=socket.gethostname(),
            device=devices.description(),
        )

    def ended(self, status: str) -> None:
        """Record how this start ended; one that was killed has no end."""
        if self.starts:  # else it ended before it was recorded
            self.starts[-1] |= {"ended": _now(), "status": status}
            self.run_dir.update_run(status=status, starts=self.starts)

    def _facts(self, state: TrainState) -> dict[str, Any]:
        experiment, spec = self.session.experiment, self.session.spec
        family, inference = experiment.problem.family, experiment.problem.inference
        return {
            **versions(),
            "instruction_set": instruction_set(),
            "data_sha256": self.session.data_sha256(),
            "command": sys.argv,
            "bound": experiment.problem.bound_name,
            "num_data": spec.num_data,
            "steps_per_epoch": self.steps_per_epoch,
            "num_model_parameters": _count(state.params.theta),
            "num_variational_parameters": _count(state.params.phi),
            "params_per_datapoint": family.num_params,
            "latent_size": family.latent.size,
            "image_shape": experiment.dataset.image_shape,
            "mode_amortized": is_amortized(inference, state.params.phi),
        }

    def _non_finite_step(self, chunk: Chunk) -> NonFiniteError:
        step = chunk.first_step + len(chunk.value) - 1
        rows, key = self.loop.rows_of(step)
        path = self._dump(chunk.state.params, step, "train", rows, key, chunk.value)
        return NonFiniteError(
            f"The bound, its variance or its gradient was not finite at step {step} (epoch "
            f"{step // self.steps_per_epoch}), rows {', '.join(map(str, rows[:5]))}, ... {path} "
            f"holds all rows and the norms of the parameters. {self._last_good()} Try a smaller "
            "optimizer.theta.learning_rate or optimizer.phi.learning_rate."
        )

    def _non_finite_evaluation(
        self, params: Params, step: int, split: Split, ids: np.ndarray, bounds: np.ndarray
    ) -> NonFiniteError:
        bad = ids[~np.isfinite(bounds)]
        key = np.asarray(jax.random.key_data(key_for(self.session.experiment.seed, "evaluate")))
        path = self._dump(params, step, split, bad, key, bounds)
        return NonFiniteError(
            f"The bound of {len(bad)} {split} rows is not finite (row ids "
            f"{', '.join(map(str, bad[:5]))}). {path} holds all rows and the norms of the "
            f"parameters. {self._last_good()} Try a smaller learning rate."
        )

    def _dump(
        self,
        params: Params,
        step: int,
        split: Split,
        rows: np.ndarray,
        key: np.ndarray,
        value: np.ndarray,
    ) -> Path:
        """Write what is known of a number that is not finite; what is not known is empty."""
        import io

        norms = {
            name: np.linalg.norm(array.astype(np.float64))
            for name, array in flatten_tree(params).items()
        }
        buffer = io.BytesIO()
        np.savez(
            buffer,
            step=step,
            split=split,
            rows=rows,
            seed=self.session.experiment.seed,
            key=key,
            value=value,
            names=np.array(list(norms)),
            norms=np.array(list(norms.values())),
        )
        path = self.run_dir.path / "nan_dump.npz"
        atomic_write(path, buffer.getvalue())
        return path

    def _measurements(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl; somebody else may have written the older ones."""
        lines = self.run_dir.metrics()
        for number, line in enumerate(lines, start=1):
            numbers = [line.get(name) for name in ("step", "value", "standard_error")]
            if line.get("split") not in SPLITS or not all(type(n) in (int, float) for n in numbers):
                raise ConfigError(
                    f"{self.run_dir.metrics_path}, line {number}: expected a step, a split, a "
                    "value and its standard_error."
                )
        return lines

    def _summary(self) -> list[str]:
        final = {line["split"]: line for line in self._measurements()}
        name = self.session.experiment.problem.bound_name
        return [
            f"{split:5} {name:18} {final[split]['value']:10.3f} +- "
            f"{final[split]['standard_error']:.3f} nats"
            for split in SPLITS
            if split in final
        ]


def _train_lines(chunk: Chunk, log_every: int, batch_size: int) -> list[Line]:
    """Return one line per `log_every` steps and at the chunk's end: chunks end where lines do."""
    lines = []
    for start in range(0, len(chunk.value), log_every):
        window = slice(start, start + log_every)
        value, variance = chunk.value[window], chunk.variance[window]
        number = len(value) * batch_size
        error = float(np.sqrt(variance.astype(np.float64).mean() / number))
        step = chunk.first_step + start + len(value)
        lines.append(Line(step, "train", float(value.astype(np.float64).mean()), error, number))
    return lines


def _now() -> str:
    import datetime

    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _remarks(session: Session, state: TrainState) -> list[str]:
    from avi.abilities import Remarkable

    model = session.experiment.problem.model
    of_model = model.remarks(state.params.theta) if isinstance(model, Remarkable) else []
    return [*of_model, *_repeated(session), *_cold_start(session, state)]


def _repeated(session: Session) -> list[str]:
    from avi.datasets.base import repeated_rows

    repeated, of_all = repeated_rows(session.splits), len(session.points("test"))
    return [f"{repeated} of the {of_all} test rows are also training rows."] if repeated else []


def _cold_start(session: Session, state: TrainState) -> list[str]:
    """Return what to type where an encoder trains from scratch together with a model's globals."""
    from avi.abilities import Conjugate

    problem, settings = session.experiment.problem, session.experiment.train
    learns = is_amortized(problem.inference, state.params.phi)
    given = settings.start is not None or settings.freeze is not None
    if given or not learns or not isinstance(problem.model, Conjugate):
        return []
    return [
        f"The globals of {type(problem.model).__name__} start from scratch with the encoder: they "
        "may collapse while the gap looks small. Compare bounds, or train inference=svi first and "
        "add train.start=<that run> optimizer.theta.tau=10000 (small moves: an untrained "
        "encoder would ruin them)."
    ]
