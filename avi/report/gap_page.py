"""What the gap section of a page is made of, beside the report's own records."""

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from avi.report import images
from avi.report.figures import gap as drawings
from avi.report.figures.style import svg
from avi.report.wording import gap_command, loser
from avi.results.against import OtherRow
from avi.results.gap import FrontierStep, SplitSummary
from avi.results.ladder import Rung
from avi.results.points import Decomposition, worst_first
from avi.results.record import grouped
from avi.results.run import Run
from avi.settings import Split

WORST_SHOWN = 10
GUIDE = "gap/how-to-read-a-gap-report.md"  # in the run folder, so that the page needs no network
TOLD = 0.9  # share of the gap whose price is told in words


class Price(NamedTuple):
    """The first step of a frontier that recovers most of the gap."""

    step: FrontierStep
    share: float


class Tile(NamedTuple):
    """One of the observations that lose most, as an image."""

    row: Decomposition
    picture: bytes
    made: bytes | None  # its reconstruction
    label: str  # empty where it has none


def stacks(run: Run) -> dict[Split, SplitSummary]:
    """Return the splits that have a gap."""
    return {name: one for name, one in run.splits.items() if one.amortization_gap.known}


def point_gaps(run: Run) -> dict[Split, np.ndarray]:
    """Return the gap of every point, per split."""
    found = grouped(run.points, lambda row: row.split)
    return {
        split: np.array([row.amortization_gap for row in rows])
        for split, rows in found.items()
        if split
    }


class GapView:
    """What templates/gap.html asks for."""

    guide = GUIDE

    def __init__(self, run: Run) -> None:
        """Look at a run; figures are drawn when they are asked for."""
        self.run = run
        self.command = gap_command(run)
        self.loser = loser(run)

    def has(self, key: str) -> bool:
        """Say whether any split knows a quantity."""
        return any(getattr(one, key).known for one in self.run.splits.values())

    def has_interval(self, key: str) -> bool:
        """Say whether any split has its interval."""
        return any(getattr(one, key).interval for one in self.run.splits.values())

    @property
    def has_guarantee(self) -> bool:
        """Whether a limit is guaranteed for any split."""
        gaps = [one.amortization_gap.guaranteed for one in self.run.splits.values()]
        return any(map(math.isfinite, gaps))

    @property
    def same_bounds(self) -> list[str]:
        """The names of the gaps in the bound that was trained."""
        found = [one.same_bound for one in self.run.splits.values() if one.same_bound]
        return sorted({one.name for one in found} - {""})

    @property
    def kinds(self) -> set[str]:
        """The kinds of evidence in the report."""
        return {one.evidence.kind for one in self.run.splits.values()} - {""}

    @property
    def kind(self) -> str:
        """The kind of all evidence, "lower" where they differ."""
        return self.kinds.copy().pop() if len(self.kinds) == 1 else "lower"

    @property
    def decomposition(self) -> Any:
        """The stacked figure."""
        drawing = drawings.decomposition(stacks(self.run), self.run.gap_name)
        return svg(drawing, "Decomposition of gaps")

    @property
    def histogram(self) -> Any:
        """The gaps of all points; nothing where none is known."""
        points = point_gaps(self.run)
        if not any(np.isfinite(values).any() for values in points.values()):
            return ""
        drawing = drawings.histogram(points, self.run.gap_name)
        return svg(drawing, "Distribution of the per-point gaps")

    @cached_property
    def frontiers(self) -> dict[Split, list[FrontierStep]]:
        """The frontier of each split that has one."""
        found = self.run.gap.frontier if self.run.gap else {}
        known = {
            split: [step for step in steps if step.gain.known] for split, steps in found.items()
        }
        return {split: steps for split, steps in known.items() if steps}

    @property
    def prices(self) -> dict[Split, Price]:
        """What most of the gap would cost, where a few steps recover it."""
        found = {}
        for split, steps in self.frontiers.items():
            end = steps[-1].mean
            enough = [one for one in steps if one.mean > TOLD * end and math.isfinite(one.steps)]
            if end > 0 and enough:
                found[split] = Price(enough[0], enough[0].mean / end)
        return found

    @property
    def frontier(self) -> Any:
        """Nats recovered against steps and time."""
        return svg(drawings.frontier(self.frontiers), "Amortization frontier")

    @property
    def frontier_rows(self) -> Iterator[tuple[FrontierStep, tuple[FrontierStep | None, ...]]]:
        """Yield the steps of the longest frontier, and beside each those of all splits."""
        curves: list[list[FrontierStep]] = list(self.frontiers.values())
        longest = max(curves, key=len)
        yield from zip(longest, zip_longest(*curves), strict=True)

    @property
    def against(self) -> Any:
        """The picture of other rows beside the run's own."""
        run, beside = self.run, self.run.against
        assert beside is not None
        own = [row for row in run.points if row.split == beside.split]
        names = (f"{beside.split} rows", beside.data)

        def two(own_values: list[float], other_values: list[float]) -> dict[str, np.ndarray]:
            return dict(zip(names, map(np.array, (own_values, other_values)), strict=True))

        sides = {
            "ELBO at λ*": two(
                [row.bound_star for row in own], [row.bound_star for row in run.other_rows]
            ),
            run.gap_name: two(
                [row.amortization_gap for row in own], [row.regret for row in run.other_rows]
            ),
        }
        return svg(drawings.against(sides, names), "Other rows beside the run's own")

    @property
    def strangest(self) -> list[OtherRow]:
        """The other rows with the largest gaps."""
        known = [row for row in self.run.other_rows if math.isfinite(row.regret)]
        return sorted(known, key=lambda row: -row.regret)[:WORST_SHOWN]

    @cached_property
    def ladders(self) -> dict[str, list[Rung]]:
        """The families that were compared, by split."""
        return grouped(self.run.ladder.rungs, lambda rung: rung.split)

    @property
    def ladder(self) -> Any:
        """What each family reaches above the first."""
        return svg(drawings.ladder(self.ladders), "The ladder of families")

    @property
    def fallen(self) -> list[Rung]:
        """Families that ended below one that they hold."""
        return [rung for rung in self.run.ladder.rungs if rung.below > 0]

    @cached_property
    def worst(self) -> list[Decomposition]:
        """The points that lose most."""
        return worst_first(self.run.points, WORST_SHOWN)

    @property
    def tiles(self) -> list["Tile"]:
        """Those of them whose observation is an image that is at hand."""
        pictures, labels = self._pictures(), self._labels()
        return [
            Tile(row, *pictures[row.row], labels.get(row.row, ""))
            for row in self.worst
            if row.row in pictures
        ]

    def _pictures(self) -> Mapping[int, tuple[bytes, bytes | None]]:
        """Return, by row id, the images that the run has kept, and their reconstructions."""
        found: dict[int, tuple[bytes, bytes | None]] = {}
        snapshot = self.run.snapshot
        shape = images.shape_of(snapshot.image_shape, self.run.facts.image_shape)
        for kept in (snapshot, self.run.worst):
            rows, stack = kept.input_rows, images.stack(kept.inputs, shape)
            made = images.stack(kept.reconstructions, shape)
            if rows is None or stack is None or rows.shape != stack.shape[:1]:
                continue
            low, high = float(stack.min()), float(stack.max())
            tiles = [images.tile(one, low=low, high=high) for one in stack]
            beside: list[bytes | None] = [None] * len(tiles)
            if made is not None and made.shape == stack.shape:
                beside = [images.tile(one, low=low, high=high) for one in made]
            found |= dict(zip(map(int, rows), zip(tiles, beside, strict=True), strict=True))
        return found

    def _labels(self) -> dict[int, str]:
        """Return the labels of the observations that the run has kept, by row id."""
        snapshot, worst = self.run.snapshot, self.run.worst
        kept = [(snapshot.rows, snapshot.named_labels), (worst.input_rows, worst.named_labels)]
        return {
            int(row): str(label)
            for rows, labels in kept
            if rows is not None and labels is not None and len(rows) == len(labels)
            for row, label in zip(rows, labels, strict=True)
        }
