"""What a run writes while it trains: its facts, its bounds, and how each of its starts went."""

import datetime
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from avi.abilities import Conjugate
from avi.config.environment import environment
from avi.engine import placement
from avi.engine.loop import Chunk
from avi.engine.step import TrainState
from avi.phi import is_amortized
from avi.process.terminal import measured
from avi.results import facts, metrics
from avi.results.metrics import MetricsLine
from avi.results.record import UNKNOWN, Value
from avi.run.form import keep
from avi.run.searches import in_words
from avi.run.session import Session
from avi.run.trackers import Tracker, nobody
from avi.rundir import RunDir, instruction_set, versions
from avi.settings import SPLITS, Series, Split
from avi.types import Params


class Recorder:
    """Writes run.json, metrics.jsonl and timing.jsonl of one run."""

    def __init__(self, session: Session, run: RunDir) -> None:
        """Refer to the run; writes nothing."""
        self.session = session
        self.run = run
        self.seconds = 0.0  # of training, over all starts, compilation apart
        self.tracker: Tracker = nobody  # who sees each line beside metrics.jsonl
        self._starts: list[Any] = []  # of run.json; the last is this one

    def begin(
        self,
        tree: Mapping[str, Any],
        choices: Mapping[str, str],
        overrides: Sequence[str],
        shapes: TrainState,
    ) -> None:
        """Write what is known before the first step."""
        experiment, spec = self.session.experiment, self.session.spec
        family, inference = experiment.problem.family, experiment.problem.inference
        self.run.write_config(tree)
        keep(self.run.path, self.session.splits)
        facts.record(
            self.run,
            choices=dict(choices),
            overrides=list(overrides),
            starts=[],
            **versions(),
            instruction_set=instruction_set(),
            data_sha256=self.session.data_sha256(),
            columns=self.session.splits.origin.columns or (),
            command=sys.argv,
            directory=os.getcwd(),
            environment=environment(tree),
            bound=experiment.problem.bound_name,
            num_data=spec.num_data,
            steps_per_epoch=self.session.steps_per_epoch,
            num_model_parameters=_count(shapes.params.theta),
            num_variational_parameters=_count(shapes.params.phi),
            params_per_datapoint=family.num_params,
            latent_size=family.latent.size,
            image_shape=experiment.dataset.image_shape,
            mode_amortized=is_amortized(inference, shapes.params.phi),
        )

    def started(self, step: int) -> None:
        """Record that the run goes on from `step`, and where."""
        start = {
            "time": _now(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "step": step,
            "versions": versions(),
            "instruction_set": instruction_set(),
        }
        self._starts = [*self.run.read_run().get("starts", []), start]
        facts.record(
            self.run,
            status="running",
            starts=self._starts,
            machine=socket.gethostname(),
            device=placement.description(),
        )

    def ended(self, status: str, reason: str = "") -> None:
        """Record how this start ended, and why if it failed; one that was killed has no end."""
        if self._starts:  # else it ended before it was recorded
            why = {"reason": reason} if reason else {}
            self._starts[-1] |= {"ended": _now(), "status": status, **why}
            facts.record(self.run, status=status, starts=self._starts)

    def log(self, lines: Sequence[MetricsLine]) -> None:
        """Append lines to metrics.jsonl, and their moments to timing.jsonl; then hand them on."""
        metrics.append(self.run, lines, self.seconds)
        for line in lines:
            self.tracker(line)

    def line(
        self, step: int, split: Split, bounds: np.ndarray, left: Value = UNKNOWN
    ) -> MetricsLine:
        """Return the line of one held-out evaluation, from the bound of each row.

        `left` is what the searches for them still lack, where the mode has such.
        """
        error = bounds.std(ddof=1) / np.sqrt(len(bounds)) if len(bounds) > 1 else np.nan
        line = self._line(step, split, float(bounds.mean()), float(error), len(bounds))
        return replace(line, certificate=left.mean, certificate_se=left.se)

    def train_lines(self, chunk: Chunk) -> list[MetricsLine]:
        """Return one line per `log_every` steps and at the chunk's end, which is that of a line."""
        every, rows = self.session.experiment.train.log_every, self.session.batch_size
        lines = []
        for start in range(0, len(chunk.value), every):
            window = slice(start, start + every)
            value, variance = chunk.value[window], chunk.variance[window]
            number = len(value) * rows
            error = float(np.sqrt(variance.astype(np.float64).mean() / number))
            mean = float(value.astype(np.float64).mean())
            step = chunk.first_step + start + len(value)
            lines.append(self._line(step, "batches", mean, error, number))
        return lines

    def theta_term(self, params: Params) -> None:
        """Record what theta adds to the objective of training, once per data set."""
        model = self.session.experiment.problem.model
        value = float(model.log_prior(params.theta)) / self.session.spec.num_data
        if value:
            name = (
                "-KL(q(globals) || p) / N" if isinstance(model, Conjugate) else "log p(theta) / N"
            )
            facts.record(self.run, theta_term=value, theta_term_name=name)

    def summary(self) -> list[str]:
        """Return the last bound of each split, and the term of theta, for the terminal."""
        final = {line.split: line for line in metrics.measured(self.run)}
        name = self.session.experiment.problem.bound_name
        term = self.run.read_run()
        beside = [
            f"{term['theta_term_name']:24} {measured(term['theta_term'], np.nan)}, beside the bound"
            for _ in range("theta_term" in term)
        ]
        return beside + [
            f"{split:5} {name:18} {measured(final[split].value, final[split].standard_error)}, "
            f"n = {final[split].num_points}{self._search(final[split])}"
            for split in SPLITS
            if split in final
        ]

    def _search(self, line: MetricsLine) -> str:
        """Return how far the searches for rows outside a table fell short, where they did."""
        if line.split == "train":
            return ""
        return in_words(self.session, Value(line.certificate, line.certificate_se))

    def _line(
        self, step: int, split: Series, value: float, error: float, number: int
    ) -> MetricsLine:
        per_step = self.session.experiment.problem.gradient_evaluations() * self.session.batch_size
        return MetricsLine(
            step=step,
            epoch=step // self.session.steps_per_epoch,
            split=split,
            gradient_evaluations=step * per_step,
            value=value,
            standard_error=error,
            num_points=number,
        )


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
