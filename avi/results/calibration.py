"""calibration.json: whether q(z | x) means what it says, on rows that the model has drawn."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from avi.results.record import NAN, Count, Interval, plain, restored
from avi.results.store import Files, write_atomically

CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Coverage:
    """How often a central interval of q holds the true z."""

    nominal: float  # share of rows in which it would if q were p(z | x)
    share: float  # of rows in which it does
    interval: Interval = None  # 95 %, Clopper & Pearson


@dataclass(frozen=True)
class Quantity:
    """The ranks of one quantity at the true z among its values at draws of q."""

    name: str  # "z[0]", "log p(x, z)", "joint (TARP)"
    kind: str  # coordinate, category, log_joint or joint
    p: float  # of ranks that are uniform: the probability to look as uneven, or more
    mean_rank: float  # as a share: 0.5 where q is calibrated
    spread: float  # of the ranks around the middle: 1, above it where q is too narrow
    coverage: tuple[Coverage, ...] = ()
    counts: tuple[Count, ...] = ()  # rows whose rank is 0, 1, ..., the number of draws

    def fault(self, number: float) -> str:
        """Return in two words what unevenness of the ranks of so many rows comes from."""
        shift = (self.mean_rank - 0.5) * math.sqrt(12 * number)
        stretch = (self.spread - 1) * math.sqrt(number / 0.8)  # 0.8: of a uniform rank's square
        if self.kind == "log_joint":
            return "too likely" if shift < 0 else "too unlikely"
        shifted = abs(shift) > abs(stretch)
        if self.kind == "category" and shifted:
            return "too rare" if shift > 0 else "too often"
        if self.kind != "coordinate":
            return "off"
        if shifted:
            return "too low" if shift > 0 else "too high"
        return "too narrow" if stretch > 0 else "too wide"

    @property
    def of_all(self) -> bool:
        """Whether it looks at all of z, not at one part."""
        return self.kind in ("log_joint", "joint")


@dataclass(frozen=True)
class OfQ:
    """All quantities under one q."""

    quantities: tuple[Quantity, ...] = ()

    @property
    def smallest_p(self) -> float:
        """The smallest p-value, times the number of them (Bonferroni): of q as a whole."""
        known = [one.p for one in self.quantities if math.isfinite(one.p)]
        return min(1.0, len(known) * min(known)) if known else NAN

    def outside(self, failure_rate: float) -> list[Quantity]:
        """Return the quantities whose ranks leave the band."""
        return [one for one in self.quantities if one.p <= failure_rate]


@dataclass(frozen=True)
class Calibration:
    """Simulation-based calibration of the mode's own q and of q at lam*."""

    n: Count  # rows that the model has drawn
    num_draws: Count  # of q for each
    step: Count  # of the checkpoint
    seed: Count
    failure_rate: float  # that was asked for, of each quantity
    band_rate: float  # at which uniform ranks leave the band, exactly
    band_low: tuple[float, ...]  # of the ECDF minus the uniform one, at each rank but the last
    band_high: tuple[float, ...]
    own: OfQ
    best: OfQ | None = None  # at lam*, None where none was searched
    certified: Count = NAN  # rows whose lam* is
    seconds: float = NAN
    remarks: tuple[str, ...] = ()

    def holds(self, q: OfQ) -> bool:
        """Whether nothing speaks against this q, all of its quantities considered."""
        return not q.smallest_p <= self.failure_rate

    @property
    def verdict(self) -> str:
        """What it all comes to, and whose part it is."""
        own, told = self.holds(self.own), f"as far as {self.n:g} rows tell"
        if self.best is None:
            return f"The mode's own q is {f'calibrated {told}' if own else 'not calibrated'}"
        best = self.holds(self.best)
        if own and best:
            return f"The mode's own q and the best of its family are calibrated {told}"
        if best:
            return (
                "The mode's own q is not calibrated, but the best of its family is: the fault is "
                f"the mode's, {told}"
            )
        if own:
            return (
                f"The mode's own q is calibrated {told}, though the best of its family by the ELBO "
                "is not"
            )
        return (
            "Neither the mode's own q nor the best of its family is calibrated: what is wrong at "
            "the best is the family's part"
        )


def write(folder: Path, found: Calibration) -> Path:
    """Write the file of the run in `folder`."""
    return write_atomically(folder / CALIBRATION, json.dumps(plain(found), indent=1) + "\n")


def read(files: Files) -> Calibration | None:
    """Return what can be read, None where nothing was measured."""
    tree = files.json(CALIBRATION)
    found = restored(Calibration, tree) if tree else None
    return found if found and found.own.quantities and math.isfinite(found.n) else None
