"""From words on a command line to a plain tree, and from a plain tree to an experiment.

Hydra composes what the person at the keyboard names. What is read back from a run folder is plain
yaml and never meets Hydra.
"""

import contextlib
import copy
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from avi.config import catalog
from avi.config.build import checked
from avi.config.schema import check, nearest
from avi.errors import ConfigError
from avi.settings import ADDED, KEYS, Key, override_key

AS_WRITTEN = frozenset(key.name for key in KEYS if key.path == "folder")
OF_A_SWEEP = tuple(key for key in KEYS if key.place == "sweep")
NAMES = re.compile(r"[\w,]+")
WORD = re.compile(r"(?P<key>[+~]*[A-Za-z_][\w./@-]*)=(?P<value>.*)", re.DOTALL)


class Job(NamedTuple):
    """One run to be: its plain tree, the choice in each group, and the words that led there."""

    tree: Mapping[str, Any]
    choices: dict[str, str]
    words: list[str]
    swept: list[str]  # those of the words that differ between the jobs of a sweep
    sweep: str | None = None
    dry_run: bool = False
    num_workers: int | None = None  # runs of a sweep side by side; None: as the launcher sees fit
    task: int | None = None  # number of the one job of the sweep to run; None: all
    launcher: Mapping[str, Any] | None = None  # what starts the jobs of a sweep, as its yaml says


def compose(words: list[str], multirun: bool = False) -> list[Job]:
    """Return the jobs that `words` ask for: one, or with `multirun` one per combination."""
    _refuse_launchers(words, multirun)
    words = _spelled(words)
    with _composing():
        return [
            job
            for combination, swept in _combinations(words, multirun)
            for job in _jobs(combination, swept, multirun)
        ]


def override(tree: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    """Return `tree` with `key=value` words applied; every key must be there already."""
    changed = copy.deepcopy(dict(tree))
    for parsed in _parse(list(words)):
        key = parsed.key_or_group
        if (
            parsed.is_sweep_override()
            or parsed.is_add()
            or parsed.is_force_add()
            or parsed.is_delete()
        ):
            raise ConfigError(f"{parsed.input_line}: expected one plain key=value.")
        parent = _parent(changed, key)
        if isinstance(parent[key.rpartition(".")[2]], dict):
            raise ConfigError(
                f"{parsed.input_line}: {key} is fixed by the run; only single settings such as "
                f"{key}.{next(iter(parent[key.rpartition('.')[2]]), '...')} can be changed."
            )
        parent[key.rpartition(".")[2]] = _plain(parsed.value())
    return changed


def replace_groups(tree: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """Return `tree` with whole blocks replaced, e.g. {"evidence": "iwae"}, from the yaml files."""
    if not choices:
        return dict(tree)
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    merged: Any = OmegaConf.create({key: node for key, node in tree.items() if key not in choices})
    with _composing(), _explained([f"{group}={name}" for group, name in choices.items()]):
        for group, name in choices.items():
            _require_choice(group, name)
            block = hydra_compose(f"{group}/{name}")
            OmegaConf.set_struct(block, False)  # else the merged tree takes no further group
            merged = OmegaConf.merge(merged, block)
        return _resolved(merged)


# Composing with Hydra: it reads yaml and returns a tree, and touches nothing else.


@contextlib.contextmanager
def _composing() -> Iterator[None]:
    from hydra import initialize_config_dir

    _register_search_path()
    _register_sum()
    with initialize_config_dir(str(catalog.config_dir()), version_base="1.3", job_name="avi"):
        yield


@cache
def _register_search_path() -> None:
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class UserFolders(SearchPathPlugin):
        """Puts the folders of AVI_CONFIG_PATH before the built-in files."""

        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for folder in reversed(catalog.search_path()[:-1]):
                search_path.prepend("avi", f"file://{folder}")

    Plugins.instance().register(UserFolders)


@cache
def _register_sum() -> None:
    """Let a yaml say `${sum:${model.layer_sizes}}`; what is no list of numbers is refused later."""
    from omegaconf import OmegaConf

    def total(numbers: Any) -> int:
        return sum(one for one in numbers if isinstance(one, int))

    OmegaConf.register_new_resolver("sum", total, replace=True)


def _combinations(words: list[str], multirun: bool) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the words of every job, and those among them that are swept over."""
    alternatives, swept = [], []
    for parsed in _parse(words):
        if not parsed.is_sweep_override():
            alternatives.append([parsed.input_line])
            continue
        key = parsed.get_key_element()
        if not multirun:
            raise ConfigError(
                f"{parsed.input_line} names several values: add -m to run one job for each, or "
                f"write a list as {key}=[...]."
            )
        if not parsed.is_discrete_sweep():
            raise ConfigError(f"{parsed.input_line}: only a list of values can be swept over.")
        alternatives.append([f"{key}={value}" for value in parsed.sweep_string_iterator()])
        swept.append(len(alternatives) - 1)
    for combination in itertools.product(*alternatives):
        yield list(combination), [combination[position] for position in swept]


def _jobs(words: list[str], swept: list[str], multirun: bool) -> Iterator[Job]:
    """Yield one job, or those of the sweep that the experiment's yaml itself asks for."""
    job, of_the_file = _compose_one(words, swept)
    given = {word.partition("=")[0] for word in words}
    more = [f"{key}={values}" for key, values in of_the_file.items() if key not in given]
    if not (multirun and more):
        yield job
        return
    for combination, inner in _combinations(more, multirun):
        yield _compose_one([*words, *combination], [*swept, *inner])[0]


def _compose_one(words: list[str], swept: list[str]) -> tuple[Job, dict[str, str]]:
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf, open_dict

    with _explained(words):
        config = hydra_compose("train", overrides=words, return_hydra_config=True)
        with open_dict(config):
            hydra = config.pop("hydra")
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError(f"Missing: {', '.join(missing)}. Try {missing[0]}=...")
        tree = _resolved(config)
    _require_effect(words, tree)
    choices = {
        key.rpartition("@")[2].removeprefix("_global_.").replace("/", "."): str(choice)
        for key, choice in hydra.runtime.choices.items()
        if choice is not None and not key.startswith("hydra/") and key != "launcher"
    }
    asked = _taken(tree, OF_A_SWEEP)
    num_workers = asked.get("jobs")
    if num_workers is not None and num_workers < 1:
        raise ConfigError(f"jobs must be 1 or more; got {num_workers}.")
    job = Job(
        checked(tree),
        choices,
        [word for word in words if not _is_of_launcher(word)],
        [word for word in swept if not _is_of_launcher(word)],
        asked.get("sweep"),
        asked.get("dry_run", False),
        num_workers,
        asked.get("task"),
        asked.get("launcher"),
    )
    return job, dict(hydra.sweeper.params or {})


def _refuse_launchers(words: list[str], multirun: bool) -> None:
    """Refuse what starts no jobs: Hydra's own groups and keys, and a launcher of a single run."""
    for word in words:
        if re.match(r"[+~]*hydra[./@]", word):
            raise ConfigError(
                f"{word} does nothing: avi starts its jobs by itself. Try -m for a sweep, jobs=2 "
                "for two runs side by side, output=<folder> for where a run goes."
            )
        if not multirun and _is_of_launcher(word):
            raise ConfigError(f"{word} is about the jobs of a sweep. Try -m.")


def _is_of_launcher(word: str) -> bool:
    return override_key(word).partition(".")[0] == "launcher"


def _require_effect(words: list[str], tree: Mapping[str, Any]) -> None:
    """Refuse words that would change nothing of the run."""
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        unmeasured = isinstance(tree["gap"], Mapping) and tree["gap"].get("num_points") == 0
        if unmeasured and re.match(r"(evidence|refine)\b", key):
            raise ConfigError(
                f"{word} does nothing: gap.num_points=0 leaves out the report that it is of. Leave "
                "one of the two out."
            )
        settings = tree["train"]
        frozen = isinstance(settings, Mapping) and settings.get("freeze") == "theta"
        if frozen and re.match(r"(.*@)?optimizer\.theta\b", key):
            raise ConfigError(
                f"{word.rpartition('@')[2]} does nothing: theta keeps its value under "
                "train.freeze=theta. Leave one of the two out."
            )
        # The model takes it from there, if it has one.
        if key.partition(".")[0] == "likelihood" and tree["likelihood"] not in _blocks(tree):
            model = tree["model"]["_target_"].rpartition(".")[2]
            raise ConfigError(
                f"{word} does nothing: {model} has a likelihood of its own. Leave it out, or try "
                "model=vae."
            )


def _blocks(tree: Mapping[str, Any]) -> list[Any]:
    """Return the blocks of the model's configuration."""
    return [value for value in tree["model"].values() if isinstance(value, Mapping)]


def _taken(tree: dict[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
    """Take `keys` out of the tree and return what they hold, unchecked where it is a block."""
    found = {key: tree.pop(key.name) for key in keys if key.name in tree}
    return {
        key.name: value if key.annotation is None else check(value, key.annotation, key.name)
        for key, value in found.items()
    }


def _resolved(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _spelled(words: list[str]) -> list[str]:
    """Return the words as Hydra wants them: paths quoted, `optimizer.theta=sgd` a group choice."""
    for word in words:
        if not WORD.fullmatch(word) and not word.startswith("~"):
            raise ConfigError(f"{word!r} is not of the form key=value.{_where_chosen(word)}")
    chosen = dict(word.split("=", 1) for word in words if "=" in word)
    blocks = catalog.packages(chosen)
    return [_spell(word, blocks) for word in words]


def _spell(word: str, blocks: Mapping[str, catalog.Default]) -> str:
    key, _, value = word.partition("=")
    if key in AS_WRITTEN and value not in ("", "null") and value[0] not in "'\"":
        return f"{key}={_quoted(value)}"
    block, names = blocks.get(key), value.split(",")
    if key == "model.likelihood" and NAMES.fullmatch(value) and value != "null":
        raise ConfigError(
            f"{word}: a likelihood is chosen beside the model. Try likelihood={value}."
        )
    if block is None or block.group == key:
        return word
    if all(name in catalog.groups().get(block.group, {}) for name in names):
        return f"{block.group}@{key}={value}"
    if "." in key and NAMES.fullmatch(value) and value != "null":
        _require_choice(
            block.group, next(n for n in names if n not in catalog.groups()[block.group])
        )
    return word


def _quoted(value: str) -> str:
    escaped = re.sub(
        r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), value
    )
    return f"'{escaped}'"


def _where_chosen(word: str) -> str:
    found = [group for group, choices in catalog.groups().items() if word in choices]
    return f" Did you mean {found[0]}={word}?" if found else ""


def _parse(words: list[str]) -> list[Any]:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    loader = GlobalHydra.instance().config_loader() if GlobalHydra().is_initialized() else None
    parser = OverridesParser.create(config_loader=loader)
    parsed = []
    for word in words:
        try:
            parsed += parser.parse_overrides([word])
        except HydraException:  # a value with spaces or brackets that is meant as plain text
            key, _, value = word.partition("=")
            try:
                parsed += parser.parse_overrides([f"{key}={_quoted(value)}"])
            except HydraException as error:
                raise ConfigError(f"{word!r} cannot be read as key=value.") from error
    return parsed


@contextlib.contextmanager
def _explained(words: list[str]) -> Iterator[None]:
    """Turn Hydra's errors into one sentence each."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except MissingConfigException as error:
        if error.missing_cfg_file is None:
            raise ConfigError(_first_lines(error)) from error
        _require_choice(*error.missing_cfg_file.rpartition("/")[::2])
        raise ConfigError(_first_lines(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        missing = re.search(r"Missing mandatory value: (\S+)", str(error))
        if missing is not None:
            raise ConfigError(f"Missing: {missing[1]}. Try {missing[1]}=...") from error
        unknown = re.search(r"Could not override '([^']+)'", str(error))
        if unknown is None:
            raise ConfigError(_first_lines(error)) from error
        raise ConfigError(f"There is no key {unknown[1]}.{_near_key(unknown[1], words)}") from error


def _require_choice(group: str, name: str) -> None:
    choices = catalog.groups().get(group.strip("/"), {})
    if name not in choices:
        names = ", ".join(choices) or "nothing"
        raise ConfigError(
            f"There is no {group.strip('/')} named {name}. Choose from: {names}."
            f"{nearest(name, choices)}"
        )


def _near_key(key: str, words: list[str]) -> str:
    chosen = dict(word.split("=", 1) for word in words if "=" in word)
    if elsewhere := _elsewhere(key):
        return elsewhere
    known = [*catalog.keys(chosen), *catalog.packages(chosen)]
    same_end = [name for name in known if name.endswith(f".{key.rpartition('.')[2]}")]
    if "." not in key and same_end:
        return f" Did you mean {same_end[0]}?"
    return nearest(key, known)


def _elsewhere(key: str) -> str:
    """Return which choice of a key's group has it, empty if none has."""
    group = key.partition(".")[0]
    # There is no optimizer, but one of theta and one of phi.
    block = group if group in catalog.packages({}) else ".".join(key.split(".")[:2])
    found = [f"{block}={name}" for name in catalog.choices_with(key, group)]
    return f" Try {found[0]}, which has it." if found else ""


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])


def _parent(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the block that holds `key`, which must exist."""
    *parents, last = key.split(".")
    node: Any = tree
    for name in parents:
        if isinstance(node, dict) and key in ADDED:
            node.setdefault(name, {})
        node = node.get(name) if isinstance(node, dict) else None
    if isinstance(node, dict) and key in ADDED:
        node.setdefault(last, None)
    if not isinstance(node, dict) or last not in node or last == "_target_":
        near = _elsewhere(key) or nearest(key, _leaves(tree))
        raise ConfigError(f"There is no key {key} in this run.{near}")
    return node


def _leaves(node: Any, path: str = "") -> Iterator[str]:
    for key, child in node.items():
        name = f"{path}.{key}" if path else key
        if isinstance(child, dict):
            yield from _leaves(child, name)
        elif key != "_target_":
            yield name


def _plain(value: Any) -> Any:
    """Return a parsed value without Hydra's quoted strings in it."""
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return getattr(value, "text", value)


def as_yaml(tree: Mapping[str, Any]) -> str:
    """Return the tree as people read it."""
    import yaml

    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True).rstrip("\n")
