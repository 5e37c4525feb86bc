"""`avi train`: fit a model under one mode, then measure what it reached."""

import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from avi.config.build import checked, require_effect
from avi.contracts import model
from avi.engine import placement
from avi.engine.loop import Chunk, Loop
from avi.engine.step import TrainState
from avi.errors import ConfigError, Preempted, ResourceError, ValidityError
from avi.process.grammar import many, verb
from avi.process.signals import Stop
from avi.process.terminal import Progress, say
from avi.randomness import key_for
from avi.results import facts, metrics
from avi.results.metrics import MetricsLine
from avi.results.record import UNKNOWN
from avi.run import trackers
from avi.run.patience import Patience
from avi.run.postmortem import Postmortem
from avi.run.product import End
from avi.run.products import PRODUCTS
from avi.run.recorder import Recorder
from avi.run.remarks import cold_start, ending, of_data, remarks, understood
from avi.run.searches import left_to_gain
from avi.run.session import Session, open_session, require_same_data
from avi.rundir import RunDir, checkpoints
from avi.rundir.trees import flatten_tree
from avi.settings import SPLITS, Split


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
    require_effect(overrides, tree)
    with Stop() as stop:
        session = open_session(tree, RunDir.open(folder) if resume else None)
        placement.require(checked(tree).mesh)
        if not resume:
            model.require(session.experiment.problem, session.spec)
            session.require_start()  # before a folder is made, or replaced
        trackers.maker(session.experiment.train.log)  # refuses one that cannot be
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
        with trackers.tracking(training.settings.log, run.path) as training.recorder.tracker:
            state = training.run(state)
            training.finish(state)
    except ValidityError:
        raise
    except Exception as error:
        # A full disk that ended the run refuses its status too: the first error is the one.
        with contextlib.suppress(ResourceError):
            if isinstance(error, Preempted):
                training.recorder.ended("interrupted")
            else:
                training.recorder.ended("failed", " ".join(str(error).split())[:300])
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
        self.recorder = Recorder(session, run)
        self.postmortem = Postmortem(session, run, lambda step: self.loop.rows_of(step))
        self.first_step = 0  # of this start
        self.valid: tuple[int, float] | None = None  # step and validation bound
        self.patience = Patience(self.settings.patience)

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
        brought = self.session.brought(shapes.params)
        num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
        self.run_dir.require_free(3 * num_bytes)
        self.recorder.begin(tree, choices, overrides, shapes)
        read = understood(self.session)
        said = [*read, *([] if brought is None else brought.said)]
        facts.record(self.run_dir, understood=read)
        for sentence in [*said, *of_data(self.session), *cold_start(self.session, shapes)]:
            say(sentence)
        if brought is not None:
            facts.record(self.run_dir, weights=brought.record)
        self.recorder.started(0)
        # Beside what else comes before the first step.
        with ThreadPoolExecutor(1) as beside:
            compiling = beside.submit(loop.compile, shapes)
            state = self.session.initial_state(brought and brought.params)
            self._save(state, 0)
            loop.order_of(0)
            compiling.result()
        facts.record(self.run_dir, bit_exact=loop.repeats(state))
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
                f"{self.run_dir.path} has trained "
                f"{many(checkpoint.step // self.steps_per_epoch, 'epoch')} already: "
                f"train.epochs={self.settings.epochs} would not take them back. Try a new "
                "run, or `avi gap` with checkpoint=<step> for an earlier state of this one."
            )
        state = self.session.restore(checkpoint)
        manifest = checkpoint.manifest
        self.run_dir.truncate_metrics(manifest.metrics_offset)
        self.run_dir.truncate_timing(manifest.timing_offset)
        self.recorder.seconds = float(manifest.extra.get("seconds") or 0.0)
        self.patience = Patience.restored(self.settings.patience, checkpoint)
        self.run_dir.write_config(tree)
        before = self.run_dir.read_run().get("device")
        if not checkpoint.bit_exact or before not in (None, placement.description()):
            say("Machine, devices or versions are not those of the checkpoint: not bit-exact.")
            facts.record(self.run_dir, bit_exact=False)
        self.recorder.started(checkpoint.step)
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
                if self.patience.over:
                    self.num_steps = int(state.step)
                    break
        return self.loop.whole(state)

    def _after(self, chunk: Chunk, progress: Progress) -> None:
        step = chunk.first_step + len(chunk.value)
        if chunk.first_step == self.first_step:
            metrics.append_compilation(self.run_dir, self.loop.compile_seconds)
        self.recorder.seconds += chunk.seconds
        if not chunk.finite:
            raise self.postmortem.of_step(chunk._replace(state=self.loop.whole(chunk.state)))
        self.recorder.log(self.recorder.train_lines(chunk))
        epoch, left = divmod(step, self.steps_per_epoch)
        last = step == self.num_steps
        if not left and (
            last or (self.settings.eval_every and epoch % self.settings.eval_every == 0)
        ):
            self.recorder.log(self._evaluate(chunk.state, step, ("valid",)))
            last = last or self.patience.over
        if not left and (last or epoch % self.settings.save_every == 0):
            self._save(self.loop.whole(chunk.state), step)
        elif self.stop.caught is not None:
            self._save(self.loop.whole(chunk.state), step)
        self.stop.check()
        progress.update(step, float(chunk.value.mean()), len(chunk.value) / chunk.seconds)

    def finish(self, state: TrainState) -> None:
        """Evaluate, make the products and the page, and say where it all is."""
        run, session = self.run_dir, self.session
        done = {(line.step, line.split) for line in metrics.measured(run)}
        due = tuple(split for split in SPLITS if (self.num_steps, split) not in done)
        self.recorder.log(self._evaluate(state, self.num_steps, due))
        self.stop.check()
        said = [*remarks(session, state), *ending(run, self.settings.epochs)]
        said += self._stopped_early()
        facts.record(run, remarks=said)
        self.recorder.theta_term(state.params)
        end, made = End(session, state.params, run, self.stop.check), []
        for product in PRODUCTS:
            self.stop.check()
            if product.due(session):
                made.append(product.make(end))
        self.stop.check()
        said += [words for one in made for words in one.remarks]
        facts.record(run, remarks=said)
        page = self._page()
        self.recorder.ended("done")
        lines = [*self.recorder.summary(), *(line for one in made for line in one.lines)]
        before = {*lines, *of_data(session), *cold_start(session, state)}
        for line in [*lines, *(words for words in said if words not in before)]:
            say(line)
        say(str(page))
        for one in made:
            one.verdict()

    def _stopped_early(self) -> list[str]:
        """Return that train.patience ended the run, where it did."""
        epochs = self.num_steps // self.steps_per_epoch
        if epochs >= self.settings.epochs:
            return []
        return [
            f"Training ended after {epochs} of {self.settings.epochs} epochs: "
            f"{many(self.patience.since, 'held-out bound')} in a row "
            f"{verb(self.patience.since, 'were')} no better than the best before "
            "(train.patience). checkpoint=best takes that one."
        ]

    def _page(self) -> Path:
        """Return the report if it is wanted, else the folder."""
        if not self.settings.report:
            return self.run_dir.path
        from avi.report.run_page import write_report

        return write_report(self.run_dir.path, status="done")

    def _evaluate(
        self, state: TrainState, step: int, splits: tuple[Split, ...]
    ) -> list[MetricsLine]:
        """Return the held-out bounds: the same rows and the same draws at every call."""
        lines = []
        for split in splits:
            points = self.session.points(split, self.settings.eval_points)
            if not len(points):
                continue
            key = key_for(self.session.experiment.seed, "evaluate")
            bounds = self.evaluator.bounds(state.params, points, key)
            if not np.isfinite(bounds).all():
                raise self.postmortem.of_evaluation(state.params, step, split, points.ids, bounds)
            if split == "valid":
                self.valid = step, float(bounds.mean())
                self.patience.see(bounds)
            left = UNKNOWN
            if step == self.num_steps or self.patience.over:
                lams = self.evaluator.lams(state.params, points, key)
                left = left_to_gain(self.session, state.params, points, lams)
            lines.append(self.recorder.line(step, split, bounds, left))
        return lines

    def _save(self, state: TrainState, step: int) -> None:
        valid = self.valid[1] if self.valid is not None and self.valid[0] == step else None
        beside, counted = self.patience.kept()
        extra = {"seconds": self.recorder.seconds, "valid": valid, **counted}
        arrays = flatten_tree(state) | beside
        self.postmortem.require_finite(state.params, arrays, step)
        checkpoints.save(self.run_dir, step, arrays, extra, keep_last=self.settings.keep_last)
