"""report.html: one self-contained page that says what a run reached and how far to believe it."""

import math
import shlex
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from avi.errors import ConfigError
from avi.process import manual
from avi.report import images
from avi.report.calibration_page import CalibrationView
from avi.report.figures import curves, latent
from avi.report.figures import gap as drawings
from avi.report.figures.style import png, svg
from avi.report.gap_page import GUIDE, GapView, point_gaps, stacks
from avi.report.render import page
from avi.report.wording import growth, loser, plural, plus_minus
from avi.results.record import UNKNOWN, number
from avi.results.run import Run, read
from avi.results.store import write_atomically
from avi.results.topics import Topic
from avi.settings import Split, is_incidental

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLLAPSED = 0.01  # nats per word over a single topic, below which topics are as good as equal
MANY = 0.1  # share of all points that other starts may raise, above which a headline says so
ACTIVE = 0.01  # variance of a dimension's posterior means, above which it is in use
_VERSIONS = ("avi", "jax", "jaxlib", "numpy", "python", "machine", "device")


def write_report(folder: Path, status: str | None = None) -> Path:
    """Write report.html, elbo.png and gap/gap.png of the run in `folder` from its files.

    `status` is what run.json will say once the page is there, where it does not yet.
    """
    run = read(Path(folder))
    if status is not None:
        run = replace(run, facts=replace(run.facts, status=status))
    write_figures(run)
    if run.gap is not None:
        write_atomically(
            run.folder / GUIDE, (manual.folder() / Path(GUIDE).name).read_text("utf-8")
        )
    return write_atomically(run.folder / "report.html", report(run))


def write_figures(run: Run) -> list[Path]:
    """Write elbo.png, and gap/gap.png where there is a gap report."""
    written = []
    if run.measured:
        drawing = figure(run, "elbo")
        written.append(write_atomically(run.folder / "elbo.png", png(drawing)))
    if run.gap is not None:
        drawing = figure(run, "gap")
        written.append(write_atomically(run.folder / "gap" / "gap.png", png(drawing)))
    return written


def figure(run: Run, name: str) -> "Figure":
    """Return the figure `elbo` or `gap` of a run.

    Raises:
        ConfigError: the run has no such figure.
    """
    if name == "elbo" and run.measured:
        return curves.elbo_curves(run.curves, run.bound_name, searched=run.searched)
    if name == "gap" and run.gap is not None:
        return drawings.gap_figure(stacks(run), point_gaps(run), run.gap_name)
    lacking = {"elbo": "no bound has been measured", "gap": "it has no gap report: try avi gap"}
    why = lacking.get(str(name), "the figures are elbo and gap")
    raise ConfigError(f"{run.folder} has no figure {name!r}: {why}.")


def report(run: Run) -> str:
    """Return the page."""
    topics = TopicsView(run) if run.topics and run.topics.topics else None
    calibrated = CalibrationView(run.calibration) if run.calibration else None
    views = {"view": RunView(run), "gap": GapView(run), "calibrated": calibrated, "topics": topics}
    return page("run.html", run=run, **views)


def headline(run: Run) -> str:
    """Return the result in one sentence, and what is not known in another."""
    split, bound = run.final_bound
    names = {"test": "Test", "valid": "Validation", "train": "Training"}
    if split:
        result = f"{names[split]} {run.bound_name} {plus_minus(bound)} nats per datapoint"
        if split in run.searched:
            result += f", each row by a search of its own{_short(run, split)}"
    else:
        result = "No bound has been measured yet"
    if run.gap is None:
        return f"{result}. How much of it {loser(run)} loses has not been measured."
    if run.gap_split is None:
        return f"{result}. The gap report holds no gap."
    return f"{result}; {_loss(run, run.gap_split)}."


def _short(run: Run, split: Split) -> str:
    """Return by how much the searches for the rows of a split fell short, where they did."""
    last = run.curves[split].last
    left = last.certificate if last is not None else UNKNOWN
    if not left.known or not left.exceeds(number(run.setting("gap.tolerance"))):
        return ""
    return f" that ends {plus_minus(left)} nats short of its best"


def _loss(run: Run, split: Split) -> str:
    gap = run.splits[split].amortization_gap
    error = np.nan_to_num(gap.se)
    where = "" if split == "test" else f" on the {split} rows"
    best = "the best member of its own family" + where
    nats = "nats" if run.bound_name == "ELBO" else "nats of ELBO"
    audit = run.gap.audit if run.gap else None
    if audit is not None and audit.may_gain > MANY:
        best += f", as far as {plural(audit.points, 'row')} tried from several starts can tell"
    if gap.mean < -3 * error and gap.mean < 0:
        return f"its gap report contradicts itself: a gap of {plus_minus(gap)} nats{where}"
    # A few rows far off make the mean uncertain for others like them, not what these rows lost.
    if gap.mean <= 2 * (gap.se_mc if math.isfinite(gap.se_mc) else error):
        return f"{loser(run)} loses nothing measurable to {best} ({plus_minus(gap)} nats)"
    tolerance = run.gap.tolerance if run.gap else math.nan
    if gap.mean + 2 * error < tolerance:
        return f"{loser(run)} loses less than {tolerance:g} {nats} to {best}"
    if run.amortized:
        return f"{loser(run)} loses {plus_minus(gap)} {nats} to {best}"
    return f"{loser(run)} ends {plus_minus(gap)} {nats} short of {best}"


class Active(NamedTuple):
    """Which dimensions of the latent space are in use."""

    size: int
    first: int
    second: int
    number: int
    least: float = ACTIVE


class RunView:
    """What templates/run.html asks for beside the run itself."""

    def __init__(self, run: Run) -> None:
        """Look at a run; figures are drawn when they are asked for."""
        self.run = run
        self.place = run.folder.resolve().name
        self.headline = headline(run)
        self.growth = growth(run)
        chosen = (run.choice(group) for group in ("model", "inference", "dataset"))
        self.title = " · ".join(filter(None, chosen))
        self.resume_command = f"avi train {shlex.quote(f'resume={run.folder}')}"
        words = [word for word in run.facts.overrides if not is_incidental(word)]
        before = [f"{name}={shlex.quote(value)}" for name, value in run.facts.environment.items()]
        self.command = " ".join([*before, "avi train", *map(shlex.quote, words)])
        known = [(name, getattr(run.facts, name)) for name in _VERSIONS]
        self.versions = " · ".join(f"{name} {value}" for name, value in known if value)
        self._shape = images.shape_of(run.snapshot.image_shape, run.facts.image_shape)

    @property
    def curves(self) -> Any:
        """The bounds of the run."""
        name = self.run.bound_name
        return svg(figure(self.run, "elbo"), f"{name} curves")

    @cached_property
    def _stacks(self) -> list[np.ndarray]:
        """Observations and their reconstructions as images, those that are."""
        snapshot = self.run.snapshot
        found = (
            images.stack(rows, self._shape) for rows in (snapshot.inputs, snapshot.reconstructions)
        )
        return [stack for stack in found if stack is not None]

    @property
    def observations(self) -> bytes | None:
        """Observations over their reconstructions, as one image."""
        return images.mosaic(self._stacks) if self._stacks else None

    @property
    def reconstructed(self) -> bool:
        """Whether that image holds reconstructions."""
        return len(self._stacks) == 2

    @property
    def profiles(self) -> Any:
        """Observations that are no images."""
        inputs, made = self.run.snapshot.inputs, self.run.snapshot.reconstructions
        if self._stacks or inputs is None or inputs.ndim != 2 or not len(inputs):
            return ""
        same = made is not None and made.shape == inputs.shape
        drawing = latent.profiles(inputs, made if same else None)
        return svg(drawing, "Observations and reconstructions")

    @property
    def samples(self) -> bytes | None:
        """Samples from the model, as one image."""
        stack = images.stack(self.run.snapshot.samples, self._shape)
        return None if stack is None else images.mosaic([stack])

    @cached_property
    def _means(self) -> np.ndarray | None:
        means = self.run.snapshot.latent_mean
        if means is None or means.ndim != 2 or 0 in means.shape or not np.isfinite(means).all():
            return None
        return means

    @property
    def latent_space(self) -> Any:
        """The posterior means of many observations."""
        means, deviations = self._means, self.run.snapshot.latent_std
        if means is None:
            return ""
        if deviations is not None and deviations.shape != means.shape:
            deviations = None
        drawing = latent.latent_space(means, deviations, self.run.snapshot.named_labels)
        return svg(drawing, "Latent space")

    @property
    def labelled(self) -> bool:
        """Whether each of these observations has a label."""
        labels = self.run.snapshot.labels
        return labels is not None and self._means is not None and len(labels) == len(self._means)

    @property
    def active(self) -> Active | None:
        """The dimensions in use, where there are more than a figure shows."""
        means = self._means
        if means is None or means.shape[1] <= 2:
            return None
        first, second = sorted(latent.most_active(means))
        return Active(means.shape[1], first, second, int((np.var(means, axis=0) > ACTIVE).sum()))


class TopicsView:
    """What templates/topics.html asks for beside the topics themselves."""

    def __init__(self, run: Run) -> None:
        """Look at a run that has topics."""
        self._run = run
        found: Any = run.topics
        self.by_size: list[Topic] = sorted(found.topics, key=lambda topic: -topic.tokens)
        held_out = found.held_out
        self.gain = held_out.full_document.nats_per_word - held_out.one_topic.nats_per_word
        self.collapsed = self.gain < COLLAPSED

    @property
    def curves(self) -> Any:
        """The bound against documents."""
        drawing = curves.elbo_curves(self._run.curves, self._run.bound_name, "documents")
        return svg(drawing, "The bound against documents seen and seconds")
