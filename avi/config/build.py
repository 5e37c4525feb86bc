"""From the plain tree of a run to the objects it describes. Knows nothing of Hydra."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from avi.config.schema import build, build_settings, check, nearest, parameters
from avi.errors import ConfigError
from avi.settings import Device, GapSettings, Precision, TrainSettings

if TYPE_CHECKING:
    from avi.experiment import Experiment

COMPONENTS = (
    "model",
    "likelihood",
    "family",
    "inference",
    "objective",
    "evidence",
    "refine",
    "dataset",
    "optimizer",
)
SETTINGS = ("train", "gap", "seed", "device", "precision")
OF_THE_RUN: dict[str, Any] = {  # where it goes, not what it computes
    "output": str | None,
    "resume": str | None,
    "resume_damaged": Literal["skip", "fail"],
    "overwrite": bool,
}


def load_experiment(tree: Mapping[str, Any]) -> "Experiment":
    """Return the objects that a plain tree describes; refuse what does not fit its schema."""
    train, gap = check_settings(tree)

    from avi.experiment import make_experiment  # imports jax
    from avi.types import Params

    wanted = parameters(make_experiment)
    names = ("model", "family", "inference", "objective", "refine", "evidence")
    dataset, device_budget = _dataset(tree["dataset"])
    optimizers = tree["optimizer"]
    if not isinstance(optimizers, Mapping) or set(optimizers) != {"theta", "phi"}:
        raise ConfigError("optimizer: expected the two blocks theta and phi.")
    return make_experiment(
        **{name: check(_node(tree[name], name), wanted[name].annotation, name) for name in names},
        dataset=check(dataset, wanted["dataset"].annotation, "dataset"),
        device_budget=device_budget,
        optimizers=Params(
            theta=build(optimizers["theta"], "optimizer.theta"),
            phi=build(optimizers["phi"], "optimizer.phi"),
        ),
        train=train,
        gap=gap,
        seed=tree["seed"],
        device=tree["device"],
        precision=tree["precision"],
    )


def _dataset(value: Any) -> tuple[Mapping[str, Any], float]:
    """Return the node of the data set, and the one setting that stands beside its fields."""
    node = dict(_node(value, "dataset"))
    path = "dataset.device_budget"
    if "device_budget" not in node:
        raise ConfigError(f"The configuration lacks {path}.")
    device_budget = check(node.pop("device_budget"), float, path)
    if device_budget < 0:
        raise ConfigError(f"{path} is a number of bytes, 0 or more; got {device_budget:g}.")
    return node, device_budget


def _node(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise ConfigError(f"{path}: expected a block with a `_target_`.")
    return value


def check_settings(tree: Mapping[str, Any]) -> tuple[TrainSettings, GapSettings]:
    """Return the settings in `tree` after checking all that can be checked without jax."""
    known = (*COMPONENTS, *SETTINGS, *OF_THE_RUN)
    for key in tree:
        if key not in known:
            raise ConfigError(f"Unknown key {key}.{nearest(str(key), known)}")
    missing = [key for key in (*COMPONENTS, *SETTINGS) if key not in tree]
    if missing:
        raise ConfigError(f"The configuration lacks {', '.join(missing)}.")
    if check(tree["seed"], int, "seed") < 0:
        raise ConfigError(f"seed must be 0 or more; got {tree['seed']}.")
    check(tree["device"], Device, "device")
    check(tree["precision"], Precision, "precision")
    for key, annotation in OF_THE_RUN.items():
        if key in tree:
            check(tree[key], annotation, key)
    train = build_settings(TrainSettings, tree["train"], "train")
    return train, build_settings(GapSettings, tree["gap"], "gap")
