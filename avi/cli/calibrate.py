"""`avi calibrate`: ask whether a run's q(z | x) means what it says."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avi.cli.command import Command, Line, work_on
from avi.cli.tables import flagged, print_json
from avi.cli.words import checkpoint, halves, own_keys, own_words, run_folder
from avi.config import catalog
from avi.errors import ConfigError

if TYPE_CHECKING:
    from avi.results.calibration import Calibration

# What a calibration may change of a run: the search for lam*.
OF_THE_SEARCH = ("gap.budget", "gap.search_draws", "gap.tolerance", "gap.width", "refine", "device")


def run(words: list[str]) -> int:
    """Calibrate, and print a table or JSON."""
    flags, others = flagged(words)
    folder, work = prepared(others, quiet="--json" in flags)

    def told() -> None:
        found = work()
        if "--json" in flags:
            print_json([found])

    return work_on(folder, told)


def prepared(words: list[str], *, quiet: bool) -> tuple[Path, Callable[[], "Calibration"]]:
    """Return the run that is meant, and what calibrates it."""
    own, others = own_words("calibrate", words, more=("calibrate.", "gap.", "refine", "device"))
    folder, step = run_folder(own, "calibrate"), checkpoint(own)

    from avi.config.build import checked, require_effect
    from avi.config.compose import override, replace_groups
    from avi.config.schema import build_settings
    from avi.rundir.bounded import read_tree
    from avi.settings import CalibrateSettings

    of_its_own = [word for word in others if word.startswith("calibrate.")]
    of_the_run = [word for word in others if word not in of_its_own]
    tree = override(read_tree(catalog.command_file("calibrate")), of_its_own)
    settings = build_settings(CalibrateSettings, tree["calibrate"], "calibrate")
    _require_searched(of_the_run, searches=settings.search)
    chosen = {key: name for key, name in map(halves, of_the_run) if key == "refine"}
    changed = replace_groups(read_tree(folder / "config.yaml"), chosen)
    sound = checked(override(changed, [w for w in of_the_run if halves(w)[0] not in chosen]))
    require_effect([w for w in of_the_run if not w.startswith("gap.")], sound)

    from avi.run import calibrate

    return folder, lambda: calibrate.main(folder, sound, settings, step, quiet=quiet)


def _require_searched(words: list[str], *, searches: bool) -> None:
    """Refuse words that would change nothing."""
    for word in words:
        key = halves(word)[0]
        if not key.startswith(OF_THE_SEARCH):
            known = ", ".join(OF_THE_SEARCH[:4])
            raise ConfigError(f"{word} does nothing here: what the search for λ* heeds is {known}.")
        if not searches and key != "device":
            raise ConfigError(
                f"{word} does nothing: calibrate.search=false leaves out the search that it is of. "
                "Leave one of the two out."
            )


def offer(line: Line) -> list[str]:
    """Return its own keys, those of the run that it may change, and its flag."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, ["--json"])
    of_the_run = offers.keys_of_training(line.chosen)
    heeded = (key for key in of_the_run if key.startswith(OF_THE_SEARCH))
    return offers.settings(line, [*own_keys("calibrate"), *heeded])


COMMAND = Command(
    name="calibrate",
    summary="ask whether q means what it says, on rows whose z is known",
    usage="avi calibrate run=<folder> [calibrate.<key>=...] [refine=...] [--json]",
    examples="""\
  avi calibrate run=outputs/train/<folder>
  avi calibrate run=<folder> calibrate.num_points=1000
                                            finds smaller faults
  avi calibrate run=<folder> calibrate.search=false
                                            the mode's own q only, in seconds
  avi calibrate run=<folder> --json         for programs
""",
    run=run,
    offer=offer,
)
