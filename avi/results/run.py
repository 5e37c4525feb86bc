"""A run folder as its readers find it: every part optional, every damage noted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avi.errors import ConfigError
from avi.results import (
    against,
    calibration,
    facts,
    gap,
    ladder,
    metrics,
    parts,
    points,
    snapshot,
    topics,
)
from avi.results.against import Against, OtherRow
from avi.results.calibration import Calibration
from avi.results.facts import Facts
from avi.results.gap import GapSummary, SplitSummary
from avi.results.ladder import Ladder
from avi.results.metrics import Curve
from avi.results.parts import Parts
from avi.results.points import Decomposition, Observations
from avi.results.record import NAN, UNKNOWN, Value, number
from avi.results.snapshot import Snapshot
from avi.results.store import Files
from avi.results.topics import Topics
from avi.rundir.lock import is_held
from avi.settings import SPLITS, Series, Split


@dataclass(frozen=True)
class Run:
    """Everything that could be read of one run folder; a missing part is empty or None."""

    folder: Path
    config_text: str
    config: Mapping[str, Any]
    facts: Facts
    curves: Mapping[Series, Curve]
    compile_seconds: float
    parts: Parts | None  # of the ELBO
    gap: GapSummary | None
    ladder: Ladder  # of families
    against: Against | None  # other rows beside its own
    other_rows: tuple[OtherRow, ...]
    calibration: Calibration | None
    points: tuple[Decomposition, ...]
    worst: Observations
    snapshot: Snapshot
    topics: Topics | None
    damage: tuple[str, ...]  # one sentence for each file or line that could not be read

    def setting(self, key: str) -> Any:
        """Return the value of one key of the configuration, such as train.start; None if absent."""
        found: Any = self.config
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def choice(self, group: str) -> str:
        """Return what the run chose for `group`, empty where the file does not say."""
        return self.facts.choices.get(group, "")

    @property
    def measured(self) -> bool:
        """Whether there is any bound."""
        return any(curve.points for curve in self.curves.values())

    @property
    def final_bound(self) -> tuple[Split | None, Value]:
        """The split and the value of the final bound: test, else valid, else train."""
        for split in reversed(SPLITS):
            last = self.curves[split].last
            if last is not None and last.bound.known:
                return split, last.bound
        return None, UNKNOWN

    @property
    def under_way(self) -> bool:
        """Whether a process on this machine works on it."""
        return is_held(self.folder / ".lock")

    @property
    def seconds(self) -> float:
        """How long the run has trained, NaN where it is not known."""
        times = [point.seconds for curve in self.curves.values() for point in curve.points]
        return max((time for time in times if math.isfinite(time)), default=NAN)

    @property
    def splits(self) -> Mapping[Split, SplitSummary]:
        """The summaries of the splits that the gap report looked at, in the order of the file."""
        return self.gap.splits if self.gap else {}

    @property
    def amortized(self) -> bool:
        """Whether an encoder finds lam: only then is the gap an amortization gap."""
        if self.facts.mode_amortized is not None:
            return self.facts.mode_amortized
        return self.gap is not None and self.gap.gap_name == "amortization gap"

    @property
    def tabled(self) -> bool:
        """Whether every training row has a lam of its own that the run keeps."""
        facts = self.facts
        kept, each = facts.num_variational_parameters, facts.params_per_datapoint
        return not self.amortized and kept > 0 and kept == each * facts.num_data

    @property
    def gap_split(self) -> Split | None:
        """Whose gap is that of the mode: of a table its training rows, else those held out last."""
        known = [split for split, one in self.splits.items() if one.amortization_gap.known]
        if self.tabled and "train" in known:
            return "train"
        return next((split for split in reversed(SPLITS) if split in known), None)

    @property
    def searched(self) -> tuple[Split, ...]:
        """The splits whose rows have no lam in a table: each row is searched anew."""
        return ("valid", "test") if self.tabled else ()

    @property
    def gap_name(self) -> str:
        """The name of bound(lam*) - bound(lam) for this mode."""
        return "amortization gap" if self.amortized else "optimisation gap"

    @property
    def bound_name(self) -> str:
        """The name of the bound that was trained and that the curves show."""
        if self.facts.bound:
            return self.facts.bound
        trained = self.gap.objective_trained if self.gap else ""
        chosen = self.choice("objective") or trained or "elbo"
        if "iwae" not in chosen.lower():
            return "ELBO"
        draws = [number(self.setting(f"objective.{key}")) for key in _DRAWS]
        known = [value for value in draws if math.isfinite(value)]
        return f"IWAE-{round(known[0])}" if known else "IWAE bound"

    @property
    def gap_bound(self) -> str:
        """The name of the bound that the gap report is in."""
        return (self.gap.bound if self.gap else "") or "ELBO"


_DRAWS = ("num_draws", "num_samples", "k")  # names that IWAE's k has had


def is_run(folder: Path) -> bool:
    """Say whether `folder` looks like a run folder."""
    return (folder / "run.json").is_file() or (folder / "config.yaml").is_file()


def read(folder: Path) -> Run:
    """Read what there is of the run in `folder`; damage is noted, not raised.

    Raises:
        ConfigError: it is not a run folder.
    """
    if not is_run(folder):
        what = "has neither run.json nor config.yaml" if folder.is_dir() else "does not exist"
        raise ConfigError(
            f"{folder} is not a run folder: it {what}. "
            "Give the folder that `avi train` printed on its last line."
        )
    files = Files(folder)
    config_text = files.text("config.yaml")
    config = files.config()
    known = facts.read(files) or Facts()
    curves, compile_seconds = metrics.read(files, _pace(known, config))
    return Run(
        folder=folder,
        config_text=config_text,
        config=config,
        facts=known,
        curves=curves,
        compile_seconds=compile_seconds,
        parts=parts.read(files),
        gap=gap.read(files),
        ladder=ladder.read(files),
        against=against.read(files),
        other_rows=against.read_rows(files),
        calibration=calibration.read(files),
        points=points.read(files),
        worst=points.read_worst(files),
        snapshot=snapshot.read(files),
        topics=topics.read(files),
        damage=tuple(files.damage),
    )


def _pace(known: Facts, config: Mapping[str, Any]) -> metrics.Pace:
    train = config.get("train")
    batch = train.get("batch_size") if isinstance(train, Mapping) else None
    rows = known.num_data
    if batch is not None and not number(batch) > rows > 0:
        rows = number(batch)  # None, or more than there are: all rows in every step
    return metrics.Pace(known.steps_per_epoch, rows)
