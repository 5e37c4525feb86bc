"""`avi replay`: train a run again from its own configuration, and hold it against its record."""

import contextlib
import io
import math
import tempfile
from pathlib import Path
from typing import NamedTuple

from avi.engine import placement
from avi.errors import ConfigError, ValidityError
from avi.process.grammar import many, verb
from avi.process.terminal import measured, say
from avi.results import facts, metrics
from avi.results.metrics import MetricsLine
from avi.results.store import Files
from avi.run import train
from avi.run.session import open_session, require_same_data, seen_from
from avi.run.weights import require_same
from avi.rundir import RunDir, instruction_set, versions
from avi.rundir.bounded import read_tree

FAR = 3.0  # standard errors of the two together, for numbers whose bits nobody promised


class Again(NamedTuple):
    """One line of the record and what training again made of it."""

    before: MetricsLine
    now: MetricsLine

    @property
    def same(self) -> bool:
        """Whether the two are equal to the bit."""
        return repr(self.before) == repr(self.now)

    @property
    def errors(self) -> float:
        """Difference in standard errors of the two together."""
        error = math.hypot(self.before.standard_error, self.now.standard_error)
        return abs(self.now.value - self.before.value) / error if error else math.inf


def main(run: Path) -> None:
    """Train again beside the run, which is only read, and print how the two compare.

    Raises:
        ConfigError: the run is not finished.
        DataError: its rows have changed since.
        ValidityError: numbers differ whose bits were promised, or by more than their noise.
    """
    folder = RunDir.open(run)
    known = facts.read(Files(run))
    if known is None or known.status != "done":
        raise ConfigError(f"{run} is not finished. Try avi train resume={run}")
    tree = read_tree(folder.config_path)
    session = open_session(tree, folder)
    require_same_data(session, folder)
    require_same(known.weights, session.experiment.train)
    there = {"devices": placement.chosen().num_devices}  # as many as the run had, or fewer
    quiet = {**seen_from(folder, tree), "output": None, "overwrite": False, "mesh": there}
    quiet["train"] = {**quiet["train"], "report": False, "log": None}
    quiet["gap"] = {**quiet["gap"], "num_points": 0}
    say(f"Training {run} again from its config.yaml; the record is only read.")
    with tempfile.TemporaryDirectory(prefix="avi-replay-") as place:
        again = Path(place) / "run"
        with contextlib.redirect_stdout(io.StringIO()):
            train.main(quiet, known.choices, list(known.overrides), again, resume=False)
        now = metrics.measured(RunDir.open(again))
    _judge(paired(metrics.measured(folder), now), _promised(folder, known))


def paired(before: list[MetricsLine], now: list[MetricsLine]) -> list[Again]:
    """Return the lines of both that are of one step and split.

    Raises:
        ValidityError: one has a line that the other lacks.
    """
    old = {(line.step, line.split): line for line in before}
    new = {(line.step, line.split): line for line in now}
    if strange := sorted(old.keys() ^ new.keys()):
        step, split = strange[0]
        raise ValidityError(
            f"{many(len(strange), 'line')} of metrics.jsonl {verb(len(strange), 'are')} in one of "
            f"the two only, first {split} at step {step:g}."
        )
    return [Again(old[place], new[place]) for place in old]


def _promised(run: RunDir, known: facts.Facts) -> bool:
    """Whether this machine is the one whose bits the record promises."""
    there = run.read_run()
    here = versions() | {"instruction_set": instruction_set(), "device": placement.description()}
    return bool(known.bit_exact) and all(there.get(name) == here[name] for name in here)


def _judge(lines: list[Again], promised: bool) -> None:
    same = sum(line.same for line in lines)
    say(f"{same} of {len(lines)} lines of metrics.jsonl {verb(same, 'are')} the same to the bit")
    if same == len(lines):
        return
    last = {line.before.split: line for line in lines}
    for split, line in last.items():
        before = measured(line.before.value, line.before.standard_error)
        now = measured(line.now.value, line.now.standard_error)
        say(f"{split:7} {before}, now {now}: {line.errors:.1f} standard errors")
    if promised:
        first = next(line.before for line in lines if not line.same)
        raise ValidityError(
            f"this machine and these versions repeat bits, but {first.split} at step "
            f"{first.step:g} is another number."
        )
    if far := [split for split, line in last.items() if not line.errors <= FAR]:
        raise ValidityError(
            f"training again ends more than {FAR:g} standard errors away on {', '.join(far)}."
        )
    say("Another machine or other versions than the record's: no bits were promised.")
