"""The settings that belong to no component: one dataclass per yaml block, one table of traits."""

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Series = Literal["batches", "train", "valid", "test"]  # batches: means over minibatches in training
SERIES: tuple[Series, ...] = ("batches", *SPLITS)
ExportFormat = Literal["arviz", "tensorboard", "csv"]
Device = Literal["auto", "cpu", "gpu", "tpu"]
Precision = Literal["float32", "float64"]


class Key(NamedTuple):
    """A key and its traits; a key without any is not in the table."""

    name: str  # of a setting, or of a block for all that is in it
    annotation: Any = None  # what it may hold; None: its block or component says so
    path: Literal["folder", "file"] | None = None  # a folder is taken as written, commas and all
    place: Literal["run", "sweep"] | None = None  # where one goes and how it begins
    resumable: bool = False  # alters neither the numbers of a step nor lines already written
    effect: bool = True  # on what a run computes
    added: bool = False  # runs of earlier versions lack it, which is as if it were null


KEYS = (
    Key("seed", int),
    Key("device", Device, resumable=True, effect=False),
    Key("precision", Precision),
    Key("mesh", resumable=True, effect=False),
    Key("mesh.devices", resumable=True, effect=False, added=True),
    Key("output", str | None, path="folder", place="run", resumable=True, effect=False),
    Key("resume", str | None, path="folder", place="run", resumable=True, effect=False),
    Key("resume_damaged", Literal["skip", "fail"], place="run", resumable=True, effect=False),
    Key("overwrite", bool, place="run", resumable=True, effect=False),
    Key("sweep", str | None, path="folder", place="sweep", effect=False),
    Key("jobs", int | None, place="sweep", effect=False),
    Key("launcher", place="sweep", effect=False),
    Key("task", int | None, place="sweep", effect=False),
    Key("dry_run", bool, place="sweep", effect=False),
    Key("train.start", path="folder"),
    Key("train.start_checkpoint", added=True),
    Key("train.weights", path="file", added=True),
    Key("train.weights_map", path="file", added=True),
    Key("train.patience", resumable=True, added=True),
    Key("train.epochs", resumable=True),
    Key("train.log_every", resumable=True),
    Key("train.save_every", resumable=True),
    Key("train.keep_last", resumable=True),
    Key("train.report", resumable=True),
    Key("train.log", resumable=True, added=True),
    Key("dataset.device_budget", resumable=True),
    Key("dataset.path", path="file"),
    Key("dataset.vocabulary", path="file"),
    Key("gap", resumable=True),
    Key("gap.rows", path="file", added=True),
    Key("evidence", resumable=True),
    Key("refine", resumable=True),
    # Of commands that read a run, or weights.
    Key("run", path="folder"),
    Key("out", path="folder"),
    Key("data", path="file"),
    Key("split", Split),
    Key("to", ExportFormat),
    Key("weights", path="file"),
)
RESUMABLE = frozenset(key.name for key in KEYS if key.resumable)
ADDED = frozenset(key.name for key in KEYS if key.added)
WITHOUT_EFFECT = frozenset(key.name for key in KEYS if not key.effect)


def override_key(word: str) -> str:
    """Return the key of a command line word: `inference` for `+inference=svi`."""
    return word.partition("=")[0].lstrip("+~").partition("@")[0]


def is_incidental(word: str) -> bool:
    """Say whether an override names a place or a moment and leaves the experiment as it is."""
    key = override_key(word)
    return key in WITHOUT_EFFECT or key.startswith("hydra.")


def _refuse(condition: bool, sentence: str) -> None:
    if condition:
        raise ValueError(sentence)


@dataclass(frozen=True)
class TrainSettings:
    """How long, in which batches, from where, and how often to write."""

    epochs: int  # visits to every training row
    batch_size: int | None  # B, rows per step; None, or more than there are: all
    start: str | None  # run folder whose theta (and phi where shapes fit) to start from
    freeze: Literal["theta"] | None  # what keeps its initial value
    log_every: int  # steps averaged in one line of metrics.jsonl
    eval_every: int  # epochs between held-out bounds; 0: only at the end
    eval_points: int  # rows of each held-out bound; 0: none
    eval_draws: int  # draws S per row of a held-out bound
    save_every: int  # epochs between checkpoints; the first and the last are always written
    keep_last: int  # checkpoints kept, beside the best on validation
    report: bool  # the page, and the cost of a new observation that it names
    start_checkpoint: int | Literal["best"] | None = None  # of `start`; None: the newest
    weights: str | None = None  # file of tensors from elsewhere to start from
    weights_map: str | None = None  # which of them is which parameter: a name of ours, or a yaml
    log: str | None = None  # who else sees the lines of metrics.jsonl: tensorboard, or a function
    patience: int | None = None  # evaluations without a better validation bound that end training

    def __post_init__(self) -> None:
        _refuse(self.epochs < 0, f"train.epochs must be 0 or more; got {self.epochs}.")
        for name in ("batch_size", "log_every", "save_every", "keep_last", "eval_draws"):
            value = getattr(self, name)
            _refuse(
                value is not None and value < 1, f"train.{name} must be 1 or more; got {value}."
            )
        _refuse(
            self.patience is not None and self.patience < 1,
            f"train.patience must be 1 or more, or null; got {self.patience}.",
        )
        _refuse(
            self.patience is not None and not (self.eval_every and self.eval_points),
            "train.patience counts evaluations, but there are none during training. Try "
            "train.eval_every=5 train.eval_points=1000.",
        )
        _refuse(
            self.start_checkpoint is not None and self.start is None,
            "train.start_checkpoint is one of train.start=<run>, which is not given.",
        )
        _refuse(
            self.weights is not None and self.start is not None,
            "train.start and train.weights both say where to start. Leave one of them out.",
        )
        _refuse(
            (self.weights is None) != (self.weights_map is None),
            "train.weights=<file> and train.weights_map=<map> go together: which tensor is which "
            "parameter. avi list weights_map shows the maps that avi brings.",
        )
        for name in ("eval_every", "eval_points"):
            value = getattr(self, name)
            _refuse(value < 0, f"train.{name} must be 0 or more; got {value}.")

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        why = "there are no held-out bounds with train.eval_points=0."
        others = ("eval_every", "eval_draws") if self.eval_every else ("eval_draws",)
        return {} if self.eval_points else dict.fromkeys(others, why)


@dataclass(frozen=True)
class GapSettings:
    """How many rows a gap report looks at and what it accepts as converged."""

    num_points: int  # rows per split; 0 turns the report off
    splits: tuple[Split, ...]
    num_draws: int  # S, fresh draws shared by both ends of every difference
    search_draws: int  # S per step of the local optimiser
    width: int  # lanes optimised side by side; part of the result's last bits
    budget: int  # per point and start, in gradient evaluations (one draw of log p(x, z) each)
    audit: float  # share of the points that are also searched from other starts
    tolerance: float  # nats: a point is converged when its certificate is below
    half_width: (
        float | None
    )  # nats: add points, at doublings from 100, until the gap's interval is as narrow
    frontier: int  # points per split whose gap is followed step by step; 0: none
    simulated: int  # observations drawn from the model that test the evidence from both sides
    strict: bool  # end with exit code 10 when any validity flag is false
    seconds: float | None  # start no new work after so many seconds (quick report); null: never
    rows: str | int | None = None  # the user's rows, 0:1000 or a file of their numbers; None: drawn

    def __post_init__(self) -> None:
        _refuse(self.num_points < 0, f"gap.num_points must be 0 or more; got {self.num_points}.")
        for name in ("frontier", "simulated"):
            value = getattr(self, name)
            _refuse(value < 0, f"gap.{name} must be 0 or more; got {value}.")
        for name, least in (("num_draws", 4), ("search_draws", 2)):
            value = getattr(self, name)
            _refuse(
                value < least or value % 2,
                f"gap.{name} must be even, draws are paired, and {least} or more; got {value}.",
            )
        for name in ("width", "budget"):
            value = getattr(self, name)
            _refuse(value < 1, f"gap.{name} must be 1 or more; got {value}.")
        _refuse(
            not self.tolerance > 0, f"gap.tolerance must be positive (nats); got {self.tolerance}."
        )
        _refuse(not 0 <= self.audit <= 1, f"gap.audit is a share, 0 to 1; got {self.audit}.")
        _refuse(
            self.half_width is not None and not self.half_width > 0,
            f"gap.half_width must be positive (nats) or null; got {self.half_width}.",
        )
        _refuse(
            self.rows is not None and self.half_width is not None,
            "gap.half_width draws more rows, and gap.rows names them. Try gap.half_width=null.",
        )
        _refuse(not self.splits, "gap.splits must name at least one of train, valid, test.")

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing beside the others, and why."""
        if self.num_points and self.rows is not None:
            return dict.fromkeys(("num_points", "splits"), "gap.rows names the rows.")
        others = [each.name for each in fields(self) if each.name != "num_points"]
        why = "there is no report with gap.num_points=0."
        return {} if self.num_points else dict.fromkeys(others, why)


@dataclass(frozen=True)
class MeshSettings:
    """How many devices share the rows of a step and of a report."""

    devices: int | None = 1  # None: all that are there

    def __post_init__(self) -> None:
        _refuse(
            self.devices is not None and self.devices < 1,
            f"mesh.devices must be 1 or more, or null: all there are; got {self.devices}.",
        )


@dataclass(frozen=True)
class CalibrateSettings:
    """How many rows the model draws, and what their true z is ranked among."""

    num_points: int  # rows
    num_draws: int  # L of q for each
    search: bool  # lam* of every row too
    failure_rate: float  # of each test of uniformity

    def __post_init__(self) -> None:
        _refuse(
            self.num_points < 20,
            f"calibrate.num_points must be 20 or more; got {self.num_points}.",
        )
        _refuse(
            self.num_draws < 19,
            "calibrate.num_draws must be 19 or more, or no draws leave a tenth of q outside; got "
            f"{self.num_draws}.",
        )
        _refuse(
            not 0 < self.failure_rate < 1,
            f"calibrate.failure_rate is a probability, 0 to 1; got {self.failure_rate}.",
        )


@dataclass(frozen=True)
class InferSettings:
    """What makes a row's q accepted, what is tried where it is not, and what else is wanted."""

    certify: bool  # say of each row whether q stands; false: the mode's q, unjudged
    tolerance: float  # nats that an accepted q may lack to the best of its family
    budget: int  # gradient evaluations for refining a row that is not accepted; 0: none
    draws: int  # of each q, in draws.npz; 0: none
    decoded: bool  # E[x | z] at the mean of each q
    psis: bool  # mean and deviation of p(z | x) by importance sampling, where khat allows it
    linear_response: bool  # deviation of p(z | x) by the curvature of the bound
    impute: bool  # mean and interval of the entries that are missing

    def __post_init__(self) -> None:
        _refuse(
            not 0 < self.tolerance < float("inf"),
            f"tolerance must be positive (nats); got {self.tolerance}.",
        )
        for name in ("budget", "draws"):
            value = getattr(self, name)
            _refuse(value < 0, f"{name} must be 0 or more; got {value}.")
        for name in ("psis", "linear_response"):
            _refuse(
                getattr(self, name) and not self.certify,
                f"{name}=true asks whether a row's q may be corrected, which certify=false leaves "
                "out. Leave one of the two out.",
            )


UNJUDGED = InferSettings(
    certify=False,
    tolerance=0.1,
    budget=0,
    draws=0,
    decoded=False,
    psis=False,
    linear_response=False,
    impute=False,
)  # the q of the mode, as it is
