"""From a plain tree to checked objects: the fields of a dataclass are the schema of its yaml.

A node is a mapping with a `_target_`; everything else is data. Targets come from an allow-list, so
that a tree somebody else wrote can name components and nothing more.
"""

import dataclasses
import difflib
import importlib
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from avi.errors import ConfigError

COMPONENT_PACKAGES = (
    "models",
    "likelihoods",
    "priors",
    "families",
    "inference",
    "refine",
    "objectives",
    "evidence",
    "optimizers",
    "datasets",
    "networks",
    "launch",
)
OPTAX = frozenset(
    "adabelief adadelta adagrad adam adamax adamaxw adamw amsgrad lamb lion nadam nadamw "
    "noisy_sgd novograd radam rmsprop sgd yogi "
    "chain clip clip_by_global_norm add_decayed_weights scale scale_by_adam scale_by_rms "
    "scale_by_learning_rate scale_by_schedule "
    "constant_schedule cosine_decay_schedule cosine_onecycle_schedule exponential_decay "
    "linear_schedule linear_onecycle_schedule polynomial_schedule sgdr_schedule "
    "warmup_constant_schedule warmup_cosine_decay_schedule "
    "warmup_exponential_decay_schedule".split()
)
SCALARS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")
MISSING_TYPE = type(None)


class Parameter(typing.NamedTuple):
    """What one key of a node may hold."""

    annotation: Any
    required: bool


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean ...?` for the choice closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def build(node: Any, path: str) -> Any:
    """Return the object that `node` describes; `path` is where it stands in the tree."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{path}: expected a block with a `_target_`, got {_show(node)}.")
    maker = _locate(node["_target_"], f"{path}._target_")
    values = {key: value for key, value in node.items() if key != "_target_"}
    return _construct(maker, values, path)


def build_settings(cls: type, node: Any, path: str) -> Any:
    """Return the dataclass `cls` filled from a block that needs no `_target_`."""
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path}: expected a block of settings, got {_show(node)}.")
    return _construct(cls, node, path)


def check(value: Any, annotation: Any, path: str) -> Any:
    """Return `value` as `annotation` wants it (nodes built, lists as tuples), or refuse it."""
    origin = get_origin(annotation)
    if annotation in SCALARS:
        return _check_scalar(value, annotation, path)
    if annotation is Any:
        return build(value, path) if _is_node(value) else value
    if origin is Literal:
        return _check_literal(value, get_args(annotation), path)
    if origin in (Union, types.UnionType):
        return _check_union(value, annotation, path)
    if origin in (tuple, list, Sequence):
        return _check_sequence(value, annotation, path)
    if origin in (dict, Mapping):
        return _check_mapping(value, annotation, path)
    if annotation in (None, MISSING_TYPE) and value is None:
        return None
    if origin is Callable and isinstance(value, str):
        return _function(value, path)
    if annotation is Path and isinstance(value, str):
        return Path(value)
    if _is_node(value):
        return _check_component(build(value, path), annotation, path)
    raise _unexpected(value, annotation, path)


def parameters(maker: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the keys of a yaml for `maker`; what has no default is required.

    A dataclass of avi has defaults only where runs of earlier versions lack the key.
    """
    hints = _type_hints(maker)
    if dataclasses.is_dataclass(maker):
        fields = [field for field in dataclasses.fields(maker) if field.init]
        bare = {field.name: field.default is dataclasses.MISSING for field in fields}
        return {name: Parameter(hints[name], required) for name, required in bare.items()}
    found = {}
    for name, parameter in inspect.signature(maker).parameters.items():
        annotation = hints.get(name, Any)
        many = parameter.kind is parameter.VAR_POSITIONAL
        found[name] = Parameter(
            list[annotation] if many else annotation,  # type: ignore[valid-type]
            many or parameter.default is parameter.empty,
        )
    return found


def plugin_packages() -> set[str]:
    """Return the top-level packages the user trusts, from AVI_PLUGINS and `avi.plugins`."""
    from importlib.metadata import entry_points

    named = os.environ.get("AVI_PLUGINS", "").replace(",", " ").split()
    installed = [point.value for point in entry_points(group="avi.plugins")]
    return {re.split(r"[.:]", name)[0] for name in [*named, *installed]}


def _locate(target: Any, path: str) -> Callable[..., Any]:
    _require_allowed(target, path)
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not module_name.startswith(error.name or "?"):
            raise  # something that the component itself needs is not installed
        raise ConfigError(f"{path}: there is no module {module_name}.") from error
    maker = getattr(module, name, None)
    if maker is None:
        public = [key for key, value in vars(module).items() if dataclasses.is_dataclass(value)]
        raise ConfigError(f"{path}: {module_name} has no {name}.{nearest(name, public)}")
    if not _is_maker(maker, module_name):
        raise ConfigError(f"{path}: {target} is not a component (a frozen dataclass).")
    return maker


def _function(target: str, path: str) -> Callable[..., Any]:
    """Return a function of a package that the user trusts."""
    top = target.partition(".")[0]
    if not NAME.fullmatch(target):
        raise ConfigError(f"{path}: expected package.module.function, got {_show(target)}.")
    if top not in plugin_packages():
        raise ConfigError(
            f"{path}: {target} is run only from a package that you name. Try "
            f"AVI_PLUGINS={top} before `avi`, and PYTHONPATH=. if it lies in this folder."
        )
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not module_name.startswith(error.name or "?"):
            raise ConfigError(f"{path}: {module_name} cannot be imported: {error}.") from error
        raise ConfigError(
            f"{path}: there is no module {module_name} on the path. Try PYTHONPATH=<folder of "
            f"{top}> before `avi`."
        ) from error
    except Exception as error:  # the user's own file
        raise ConfigError(f"{path}: {module_name} cannot be imported: {error}.") from error
    found = getattr(module, name, None)
    if not inspect.isfunction(found):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise ConfigError(
            f"{path}: {module_name} has no function {name}.{nearest(name, functions)}"
        )
    return found


def _require_allowed(target: Any, path: str) -> None:
    if not isinstance(target, str) or not NAME.fullmatch(target):
        raise ConfigError(f"{path}: expected a dotted name, got {_show(target)}.")
    top, second = target.split(".")[:2]
    allowed = (
        (top == "avi" and second in COMPONENT_PACKAGES and target.count(".") > 1)
        or (top == "optax" and target.count(".") == 1 and second in OPTAX)
        or top in plugin_packages()
    )
    if not allowed:
        own = top not in ("avi", "optax")
        raise ConfigError(
            f"{path}: {target} is not allowed. Components come from avi's own packages, the "
            "optimisers and schedules of optax, and packages that you name."
            + (
                f" If you trust {top}, try AVI_PLUGINS={top} before `avi`, and PYTHONPATH=. if it "
                "lies in this folder."
            )
            * own
        )


def _is_maker(maker: Any, module_name: str) -> bool:
    if module_name == "optax":
        return inspect.isfunction(maker)
    if getattr(maker, "__module__", "").split(".")[0] != module_name.split(".")[0]:
        return False
    of_optimizers = module_name.startswith("avi.optimizers.") and inspect.isfunction(maker)
    return of_optimizers or (isinstance(maker, type) and dataclasses.is_dataclass(maker))


def _construct(maker: Callable[..., Any], values: Mapping[str, Any], path: str) -> Any:
    wanted = parameters(maker)
    _require_keys(values, wanted, path)
    checked = {
        key: check(value, wanted[key].annotation, f"{path}.{key}") for key, value in values.items()
    }
    many = [checked.pop(name) for name in _variadic(maker) if name in checked]
    try:
        return maker(*(many[0] if many else ()), **checked)
    except ValueError as error:
        # A component knows its keys, not where it stands: what a person types has both.
        said, offer, remedy = str(error).partition("Try ")
        own = "|".join(map(re.escape, wanted)) or "$^"
        remedy = re.sub(rf"(?<![\w.])({own})=", rf"{path}.\1=", remedy)
        sentence = f"{said}{offer}{remedy}"
        message = sentence if sentence.startswith(path) else f"{path}: {sentence}"
        raise ConfigError(message) from error


def _variadic(maker: Callable[..., Any]) -> list[str]:
    found = inspect.signature(maker).parameters.values()
    return [parameter.name for parameter in found if parameter.kind is parameter.VAR_POSITIONAL]


def _require_keys(values: Mapping[str, Any], wanted: dict[str, Parameter], path: str) -> None:
    for key in values:
        if key not in wanted:
            names = ", ".join(wanted) or "none"
            raise ConfigError(
                f"{path}: unknown key {_show(key)}; the keys are: {names}."
                f"{nearest(str(key), wanted)}"
            )
    missing = [key for key, parameter in wanted.items() if parameter.required and key not in values]
    if missing:
        raise ConfigError(f"{path}: missing {', '.join(missing)}.")


def _check_scalar(value: Any, annotation: type, path: str) -> Any:
    if annotation is float and type(value) is int:
        return float(value)
    if type(value) is not annotation:
        raise _unexpected(value, annotation, path)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}: expected a finite number, got {value}.")
    return value


def _check_literal(value: Any, choices: tuple[Any, ...], path: str) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    hint = nearest(str(value), [str(choice) for choice in choices])
    listed = ", ".join(str(choice) for choice in choices)
    raise ConfigError(f"{path}: {_show(value)} is not one of: {listed}.{hint}")


def _check_union(value: Any, annotation: Any, path: str) -> Any:
    members = get_args(annotation)
    if _is_node(value):
        return _check_component(build(value, path), annotation, path)
    literals = [choice for member in members for choice in _literal_choices(member)]
    if literals and isinstance(value, str) and str not in members:
        return _check_literal(value, tuple(literals), path)
    for member in sorted(members, key=lambda member: member is not type(value)):
        try:
            return check(value, member, path)
        except ConfigError:
            continue
    raise _unexpected(value, annotation, path)


def _check_sequence(value: Any, annotation: Any, path: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _unexpected(value, annotation, path)
    members = get_args(annotation) or (Any,)
    if get_origin(annotation) is tuple and Ellipsis not in members:
        if len(value) != len(members):
            raise _unexpected(value, annotation, path)
    else:
        members = (members[0],) * len(value)
    return tuple(
        check(item, member, f"{path}[{position}]")
        for position, (item, member) in enumerate(zip(value, members, strict=True))
    )


def _check_mapping(value: Any, annotation: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise _unexpected(value, annotation, path)
    of_key, of_value = get_args(annotation)
    return {
        check(key, of_key, f"{path} key"): check(item, of_value, f"{path}.{key}")
        for key, item in value.items()
    }


def _check_component(built: Any, annotation: Any, path: str) -> Any:
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    lacking: list[set[str]] = [_lacks(built, member) for member in members or (annotation,)]
    if any(not names for names in lacking):
        return built
    fewest = ", ".join(sorted(sorted(lacking, key=len)[0]))
    raise ConfigError(
        f"{path}: {type(built).__name__} does not fit here (it lacks {fewest}); "
        f"expected {_describe(annotation)}."
    )


def _lacks(built: Any, annotation: Any) -> set[str]:
    """Return the members of a protocol (or the class itself) that `built` does not have.

    A component that chooses another lacks nothing where that one may stand.
    """
    if _chooses(built) in (annotation, Any):
        return set()
    if get_origin(annotation) is Callable:
        return set() if callable(built) else {"__call__"}
    if getattr(annotation, "_is_protocol", False):
        hidden = {"__call__"} if "__call__" in vars(annotation) else set()
        public = {name for name in dir(annotation) if not name.startswith("_")}
        fields = set(getattr(type(built), "__dataclass_fields__", ()))
        members = hidden | public | set(annotation.__annotations__)
        return {name for name in members - fields if not hasattr(type(built), name)}
    if isinstance(annotation, type):
        return set() if isinstance(built, annotation) else {annotation.__name__}
    return set()


def _chooses(built: Any) -> Any:
    """Return what the component chooses, as its `choose` is annotated; None if it does not."""
    choose = getattr(type(built), "choose", None)
    return None if choose is None else _type_hints(choose).get("return", Any)


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _literal_choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _type_hints(maker: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(maker)
    except (NameError, TypeError):  # a third party's forward reference: its values go unchecked
        return {}


def _unexpected(value: Any, annotation: Any, path: str) -> ConfigError:
    return ConfigError(f"{path}: expected {_describe(annotation)}, got {_show(value)}.")


def _describe(annotation: Any) -> str:
    origin, members = get_origin(annotation), get_args(annotation)
    if annotation in SCALARS:
        return SCALARS[annotation]
    if annotation in (None, MISSING_TYPE):
        return "null"
    if origin is Literal:
        return "one of " + ", ".join(str(member) for member in members)
    if origin in (Union, types.UnionType):
        plain = sorted(members, key=lambda member: member not in SCALARS)
        return " or ".join(dict.fromkeys(_describe(member) for member in plain))
    if origin is tuple and Ellipsis not in members:
        return "a list of " + str(len(members)) + " (" + ", ".join(map(_describe, members)) + ")"
    if origin in (tuple, list, Sequence):
        return f"a list, each {_describe(members[0])}"
    if origin in (dict, Mapping):
        return "a block of names and values"
    if annotation is Path:
        return "a path"
    if getattr(annotation, "__module__", "").startswith("avi."):
        return f"a block with the `_target_` of a {annotation.__name__}"
    return "a block with a `_target_`"


def _show(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
