"""In which settings runs differ, and the shortest names that tell them apart."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avi.results.run import Run
from avi.settings import WITHOUT_EFFECT, is_incidental, override_key

_GROUPS = ("model", "inference", "family", "objective", "dataset")


def settings_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the flat configuration of each run, without its seed and what has no effect.

    A component that is given the run's seed makes no other experiment of it: one whose seed is that
    of each run. Data of seed 0 are the same data in a run of seed 0 and in one of seed 1.
    """
    apart = {*WITHOUT_EFFECT, "seed"}
    found = [
        dict(_leaves({key: value for key, value in run.config.items() if key not in apart}, ""))
        for run in runs
    ]
    seeds = [run.setting("seed") for run in runs]
    of_the_run = {
        key
        for key in {key for flat in found for key in flat if key.endswith(".seed")}
        if all(flat.get(key, seed) == seed for flat, seed in zip(found, seeds, strict=True))
    }
    return [
        {key: value for key, value in flat.items() if key not in of_the_run} or _typed(run)
        for run, flat in zip(runs, found, strict=True)
    ]


def _typed(run: Run) -> dict[str, Any]:
    """Return the words of a run whose configuration cannot be read: told apart too often."""
    return {"overrides": [word for word in run.facts.overrides if not word.startswith("seed=")]}


def _leaves(tree: Any, path: str) -> Iterable[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def as_typed(value: Any) -> str:
    """Return a setting as one types it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def labels_of(runs: Sequence[Run], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each run by the choices and overrides in which the runs differ, and no others."""
    groups = [
        group
        for group in _GROUPS
        if group == "inference" or len({run.choice(group) for run in runs}) > 1
    ]
    chosen = [[run.choice(group) for group in groups] for run in runs]
    keys = list(dict.fromkeys(key for run in runs for key in _override_keys(run)))
    for key in keys:
        shown = [_shown(run, key) for run in runs]
        if len(set(shown)) > 1:
            for words, value in zip(chosen, shown, strict=True):
                words.append(f"{key.rpartition('.')[2]}={value}" if value else f"no {key}")
    labels = [" ".join(filter(None, words)) or "run" for words in chosen]
    return _told_apart(labels, settings)


def _override_keys(run: Run) -> Iterable[str]:
    for word in run.facts.overrides:
        key = override_key(word)
        if not is_incidental(word) and key != "seed" and key not in _GROUPS:
            yield key


def _shown(run: Run, key: str) -> str:
    if choice := run.choice(key):
        return choice
    value = run.setting(key)
    if value is None or isinstance(value, Mapping):
        # A group (`experiment=mnist_vae`) is known by the word that was typed.
        typed = [
            word.partition("=")[2] for word in run.facts.overrides if override_key(word) == key
        ]
        return typed[-1] if typed else ""
    return Path(value).name if key == "train.start" else _compact(value)


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else as_typed(value).replace(" ", "")


def _told_apart(labels: list[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Add to labels that are shared by different configurations the settings that differ."""
    result = list(labels)
    for label in set(labels):
        sharing = [index for index, other in enumerate(labels) if other == label]
        differing = [
            key
            for key in dict.fromkeys(key for index in sharing for key in settings[index])
            if len({_compact(settings[index].get(key)) for index in sharing}) > 1
        ]
        for index in sharing:
            extra = [f"{key}={_compact(settings[index].get(key))}" for key in differing[:2]]
            result[index] = " ".join([label, *extra])
    return result
