"""`avi export`: write a run in the format of another tool."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from avi.cli.command import Command, Line, work_on
from avi.cli.words import checkpoint, own_keys, own_words, path, run_folder, whole
from avi.errors import ConfigError

OF_ROWS = ("split", "limit", "checkpoint")  # keys of what computes posteriors
IDLE = {"arviz": (), "csv": ("draws",), "tensorboard": (*OF_ROWS, "draws")}


def run(words: list[str]) -> int:
    """Write the run."""
    return work_on(*prepared(words))


def prepared(words: list[str]) -> tuple[Path, Callable[[], Path]]:
    """Return the run that is meant, and what writes it and returns where it is."""
    from avi.config.schema import check
    from avi.settings import ExportFormat, Split

    own, _ = own_words("export", words)
    folder = run_folder(own, "export", "to=arviz")
    if "to" not in own:
        names = ", ".join(get_args(ExportFormat))
        raise ConfigError(f"To what? One of {names}. For example: avi export run={folder} to=csv")
    to: ExportFormat = check(own["to"], ExportFormat, "to")
    for key in IDLE[to]:
        if key in own:
            raise ConfigError(f"{key}={own[key]} does nothing with to={to}. Leave it out.")
    split: Split = check(own.get("split", "test"), Split, "split")
    out, limit, draws = path(own, "out"), whole(own, "limit"), whole(own, "draws")
    step = checkpoint(own)

    from avi.run import export

    return folder, lambda: export.main(folder, to, out, split, limit, draws, step)


def offer(line: Line) -> list[str]:
    """Return its keys."""
    from avi.cli import offers

    idle = IDLE.get(line.chosen.get("to", "arviz"), ())
    return offers.settings(line, (key for key in own_keys("export") if key not in idle))


COMMAND = Command(
    name="export",
    summary="write a run for ArviZ, TensorBoard or a spreadsheet",
    usage="avi export run=<folder> to=arviz|tensorboard|csv [key=value ...]",
    examples="""\
  avi export run=outputs/train/<folder> to=arviz
                                            draws of each test row, as NetCDF
  avi export run=<folder> to=arviz split=train limit=100 draws=500
  avi export run=<folder> to=tensorboard    bounds by step, gaps at the end
  avi export run=<folder> to=csv out=tables bounds, gap points, posteriors
""",
    run=run,
    offer=offer,
    notes=(
        "docs/export.md says what is in each, and how a run is watched while it trains "
        "(train.log=tensorboard).",
    ),
)
