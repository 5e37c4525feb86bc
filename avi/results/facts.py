"""run.json: what is known of a run beside its configuration and its numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from avi.results.record import NAN, Count, plain, restored
from avi.results.store import Files
from avi.results.weights import Weights
from avi.rundir import RunDir


@dataclass(frozen=True)
class Cost:
    """What one observation outside the training set costs, compilation apart."""

    kind: str = ""  # "forward pass" or "optimisation"
    gradient_evaluations: Count = NAN
    milliseconds_one: float = NAN  # alone
    milliseconds_batch: float = NAN  # each, in a batch

    @property
    def known(self) -> bool:
        """Whether it was measured."""
        return bool(self.kind)


@dataclass(frozen=True)
class Facts:
    """The content of run.json."""

    choices: Mapping[str, str] = field(default_factory=dict)  # group -> choice
    overrides: tuple[str, ...] = ()  # the words of the command line
    starts: tuple[Mapping[str, Any], ...] = ()  # time, place, step and end of each
    bit_exact: bool | None = None
    python: str = ""  # this and the next four: versions
    avi: str = ""
    jax: str = ""
    jaxlib: str = ""
    numpy: str = ""
    instruction_set: str = ""
    data_sha256: str = ""
    columns: tuple[str, ...] = ()  # names of the user's columns, in the order of x
    understood: tuple[str, ...] = ()  # how the user's own file was read and scaled
    command: tuple[str, ...] = ()
    directory: str = ""  # where it was given
    environment: Mapping[str, str] = field(default_factory=dict)  # that its components need
    bound: str = ""  # that was trained and that the curves show
    num_data: Count = NAN
    steps_per_epoch: Count = NAN
    num_model_parameters: Count = NAN
    num_variational_parameters: Count = NAN
    params_per_datapoint: Count = NAN
    latent_size: Count = NAN
    image_shape: tuple[Count, ...] = ()
    mode_amortized: bool | None = None
    theta_term: float = NAN  # nats per datapoint that training climbs beside the bound
    theta_term_name: str = ""  # what these are, e.g. log p(theta) / N
    status: str = ""  # "running", "done", "interrupted" or "failed"
    machine: str = ""
    device: str = ""
    remarks: tuple[str, ...] = ()
    weights: Weights = Weights()  # of another program, from which it started
    new_observation: Cost = Cost()

    @property
    def known(self) -> bool:
        """Whether there is a file that a run wrote."""
        return bool(self.choices or self.status)


_NAMES = frozenset(each.name for each in fields(Facts))


def record(run: RunDir, **facts: Any) -> None:
    """Replace these fields of run.json; a name that no reader knows is a TypeError."""
    if strange := sorted(facts.keys() - _NAMES):
        raise TypeError(f"run.json has no field {strange[0]!r}")
    run.update_run(**{name: plain(value) for name, value in facts.items()})


def read(files: Files) -> Facts | None:
    """Return what run.json holds, None where it cannot be read."""
    tree = files.json("run.json")
    return restored(Facts, tree) if tree else None
