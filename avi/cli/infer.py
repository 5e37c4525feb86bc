"""`avi infer`: write the posteriors of a run's rows, or of one's own data."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avi.cli.command import Command, Line, work_on
from avi.cli.tables import flagged, print_json, talk_aside
from avi.cli.words import checkpoint, data_file, own_keys, own_words, path, run_folder, share, whole
from avi.config import catalog

if TYPE_CHECKING:
    from avi.results.posterior import Posterior
    from avi.settings import InferSettings

OPEN = ("mesh.",)  # what it may change in a run


def run(words: list[str]) -> int:
    """Write posteriors, and print what is to be said of them or JSON."""
    flags, others = flagged(words)
    folder, work = prepared(others)
    if "--json" not in flags:
        return work_on(folder, work)

    def told() -> None:
        from avi.results.posterior import records

        with talk_aside():
            found = work()
        print_json(records(found))

    return work_on(folder, told)


def prepared(words: list[str]) -> tuple[Path, Callable[[], "Posterior"]]:
    """Return the run that is meant, and what infers its posteriors."""
    from avi.config.schema import check
    from avi.settings import Split

    own, others = own_words("infer", words, more=OPEN)
    folder = run_folder(own, "infer")
    split: Split = check(own.get("split", "test"), Split, "split")
    data, out, limit = data_file(own, "data"), path(own, "out"), whole(own, "limit")
    step, hold_out = checkpoint(own), share(own, "hold_out")
    places = ("run", "split", "data", "out", "limit", "checkpoint", "hold_out")
    settings = wanted({key: value for key, value in own.items() if key not in places})

    from avi.run import posterior

    return folder, lambda: posterior.main(
        folder, settings, split, data, out, limit, step, others, hold_out
    )


def wanted(given: Mapping[str, Any]) -> "InferSettings":
    """Return the settings of infer.yaml, those that are `given` in words or in Python.

    Raises:
        ConfigError: one of them is not of its type, or is none.
    """
    from dataclasses import fields

    from avi.config.compose import override
    from avi.config.schema import build_settings, check
    from avi.rundir.bounded import read_tree
    from avi.settings import InferSettings

    types = {field.name: field.type for field in fields(InferSettings)}
    words = [f"{name}={given[name]}" for name in types if isinstance(given.get(name), str)]
    tree = override(read_tree(catalog.command_file("infer")), words)
    others = {name: value for name, value in given.items() if f"{name}={value}" not in words}
    values = {name: tree[name] for name in types} | others
    for name in types:
        check(values[name], types[name], name)  # by the name that is typed
    settings: InferSettings = build_settings(InferSettings, values, "infer")
    return settings


def offer(line: Line) -> list[str]:
    """Return its keys and its flag."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, ["--json"])
    of_the_run = offers.keys_of_training(line.chosen)
    changed = [key for key in of_the_run if key.startswith(OPEN)]
    return offers.settings(line, [*own_keys("infer"), *changed])


COMMAND = Command(
    name="infer",
    summary="write the posteriors of a run's rows, or of your own data",
    usage="avi infer run=<folder> [key=value ...] [--json]",
    examples="""\
  avi infer run=outputs/train/<folder>      and which of them stand
  avi infer run=<folder> split=train
  avi infer run=<folder> data=mine.csv out=results
  avi infer run=<folder> certify=false      the mode's q alone, unjudged
  avi infer run=<folder> draws=1000 psis=true linear_response=true
  avi infer run=<folder> data=gaps.csv impute=true hold_out=0.1
""",
    run=run,
    offer=offer,
)
