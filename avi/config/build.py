"""From the plain tree of a run to the objects it describes. Knows nothing of Hydra."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avi.config.schema import build, build_settings, check, nearest, parameters
from avi.errors import ConfigError
from avi.settings import KEYS, GapSettings, MeshSettings, TrainSettings

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
ADDED = ("mesh",)  # of these; runs of earlier versions lack it
PLACES = tuple(key.name for key in KEYS if key.place == "run")


@dataclass(frozen=True, eq=False)
class Checked(Mapping[str, Any]):
    """A plain tree whose settings have been checked, with these; it reads like the tree.

    What changes a tree returns a plain one, which is checked anew where it is used.
    """

    tree: Mapping[str, Any]
    train: TrainSettings
    gap: GapSettings
    mesh: MeshSettings

    def __getitem__(self, key: str) -> Any:
        return self.tree[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tree)

    def __len__(self) -> int:
        return len(self.tree)


def load_experiment(tree: Mapping[str, Any]) -> "Experiment":
    """Return the objects that a plain tree describes; refuse what does not fit its schema."""
    settings = checked(tree)

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
        train=settings.train,
        gap=settings.gap,
        seed=tree["seed"],
        device=tree["device"],
        precision=tree["precision"],
    )


def load_dataset(tree: Mapping[str, Any]) -> Any:
    """Return the data set of a plain tree alone."""
    return build(_dataset(tree["dataset"])[0], "dataset")


def require_effect(words: Iterable[str], tree: Mapping[str, Any]) -> None:
    """Refuse words whose key does nothing beside the others of its block.

    Raises:
        ConfigError: names the word and what makes it idle.
    """
    from avi.abilities import PartlyIdle

    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        parts = key.split(".")
        for depth in range(1, len(parts)):
            block = _part(tree, parts[:depth])
            idle = block.idle() if isinstance(block, PartlyIdle) else {}
            if parts[depth] in idle:
                raise ConfigError(f"{word} does nothing: {idle[parts[depth]]} Leave it out.")


def _part(tree: Mapping[str, Any], path: list[str]) -> Any:
    """Return the object or the settings that stand at a path of the tree, None for neither."""
    settings = checked(tree)
    if path in (["train"], ["gap"]):
        return getattr(settings, path[0])
    node: Any = tree
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    if path == ["dataset"]:
        node, _ = _dataset(node)
    whole = isinstance(node, Mapping) and "_target_" in node
    return build(node, ".".join(path)) if whole else None


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


def checked(tree: Mapping[str, Any]) -> Checked:
    """Return `tree` after checking all that can be checked without jax, once."""
    if isinstance(tree, Checked):
        return tree
    known = (*COMPONENTS, *SETTINGS, *ADDED, *PLACES)
    for name in tree:
        if name not in known:
            raise ConfigError(f"Unknown key {name}.{nearest(str(name), known)}")
    missing = [name for name in (*COMPONENTS, *SETTINGS) if name not in tree]
    if missing:
        raise ConfigError(f"The configuration lacks {', '.join(missing)}.")
    for key in KEYS:
        if key.annotation is not None and key.name in tree:
            check(tree[key.name], key.annotation, key.name)
    if tree["seed"] < 0:
        raise ConfigError(f"seed must be 0 or more; got {tree['seed']}.")
    train = build_settings(TrainSettings, tree["train"], "train")
    gap = build_settings(GapSettings, tree["gap"], "gap")
    mesh = build_settings(MeshSettings, tree.get("mesh", {}), "mesh")
    return Checked(tree, train, gap, mesh)
