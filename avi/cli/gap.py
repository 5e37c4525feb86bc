"""`avi gap`: measure what inference loses on a trained run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avi.cli.command import Command, Line, work_on
from avi.cli.tables import flagged, print_json, talk_aside
from avi.cli.words import checkpoint, data_file, halves, own_keys, own_words, run_folder
from avi.config import catalog
from avi.errors import ConfigError

if TYPE_CHECKING:
    from avi.results.gap import GapSummary
    from avi.run.against import Named

OPEN = ("gap.", "evidence", "refine", "device", "mesh.")  # what a report may change in a run
REPLACEABLE = ("evidence", "refine")  # the groups among them


def run(words: list[str]) -> int:
    """Measure a run's gap: its own configuration, changed by gap.yaml, then by the words."""
    flags, others = flagged(words)
    folder, work = prepared(others)
    if "--json" not in flags:
        return work_on(folder, work)

    def told() -> None:
        from avi.results import against, ladder
        from avi.results.record import plain
        from avi.results.store import Files

        with talk_aside():
            found = plain(work())
        files = Files(folder)  # which have what was asked for beside the report, and nothing else
        climbed = ladder.read(files)
        beside = {"against": against.read(files), "ladder": climbed if climbed.rungs else None}
        print_json([{**found, **beside}])

    return work_on(folder, told)


def prepared(words: list[str]) -> tuple[Path, Callable[[], "GapSummary"]]:
    """Return the run that is meant, and what measures it."""
    own, others = own_words("gap", words, more=OPEN)
    folder, step = run_folder(own, "gap"), checkpoint(own)

    from avi.config.build import checked, require_effect
    from avi.config.compose import override, replace_groups
    from avi.rundir.bounded import read_tree

    names = [name.strip() for name in own.get("family", "").strip("[]").split(",") if name.strip()]
    typed = others
    others = [*_full_report(others), *others]
    chosen = {key: name for key, name in map(halves, others) if key in REPLACEABLE}
    tree = replace_groups(read_tree(folder / "config.yaml"), chosen)
    tree = override(tree, [word for word in others if halves(word)[0] not in chosen])
    sound = checked(tree)
    require_effect(typed, sound)
    against = _against(own, tree)
    families = {name: replace_groups(tree, {"family": name})["family"] for name in names}

    from avi.run import measure

    return folder, lambda: measure.main(folder, sound, step, families, against)


def _against(own: Mapping[str, str], tree: Mapping[str, Any]) -> "Path | Named | None":
    """Return the file of other rows, or the data set that against= names."""
    name = own.get("against")
    if name is None or Path(name).exists():
        return data_file(own, "against")
    known = catalog.groups()["dataset"]
    if name not in known:
        from avi.config.schema import nearest

        raise ConfigError(
            f"against={name}: there is no such file or folder, nor a data set of that name: "
            f"{', '.join(known)}.{nearest(name, known)}"
        )
    from avi.config.compose import replace_groups
    from avi.run.against import Named

    node = replace_groups(tree, {"dataset": name})["dataset"]
    if node.get("path", name) is None:
        raise ConfigError(
            f"against={name}: that is a form of files, not a data set. Name the file itself: "
            "against=<file>"
        )
    budget = tree["dataset"]["device_budget"]  # which is of the machine, not of the rows
    return Named(name, {**node, "device_budget": budget})


def offer(line: Line) -> list[str]:
    """Return its own keys, those of the run that it may change, and its flag."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, ["--json"])
    of_the_run = offers.keys_of_training(line.chosen)
    return offers.settings(
        line, [*own_keys("gap"), *(key for key in of_the_run if key.startswith(OPEN))]
    )


def _full_report(words: list[str]) -> list[str]:
    """Return the lines of gap.yaml that change the run's configuration, as words.

    A setting of the run's own evidence, evidence.num_chains=8, keeps that evidence.
    """
    given = {key.partition(".")[0] for key, _ in map(halves, words)}
    return [
        f"{key}={value}"
        for key, value, _ in catalog.settings(catalog.command_file("gap"))
        if key.startswith(OPEN) and value and key not in given
    ]


COMMAND = Command(
    name="gap",
    summary="measure what inference loses on a trained run, in nats",
    usage="avi gap run=<folder> [gap.<key>=...] [evidence|refine|family=...]",
    examples="""\
  avi gap run=outputs/train/<folder>
  avi gap run=<folder> gap.splits=[test]    half the time
  avi gap run=<folder> gap.half_width=0.05  more rows, a narrower interval
  avi gap run=<folder> gap.rows=0:1000      your own rows; or a file of numbers
  avi gap run=<folder> checkpoint=best      by the validation bound, or a step
  avi gap run=<folder> evidence=iwae evidence.num_samples=5000
  avi gap run=<folder> family=[diagonal_gaussian,coupling_flow]
                                            what a richer family would buy
  avi gap run=<folder> against=other.npy    do its rows belong to the run's own?
  avi gap run=<folder> against=digits       ... or those of a data set
  avi gap run=<folder> --json               for programs
""",
    run=run,
    offer=offer,
    resumable=True,
)
