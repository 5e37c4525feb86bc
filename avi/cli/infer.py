"""`avi infer`: write the posteriors of a run's rows, or of one's own data."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avi.cli.command import Command, Line, work_on
from avi.cli.words import checkpoint, data_file, own_keys, own_words, path, run_folder, whole

if TYPE_CHECKING:
    from avi.results.posterior import Posterior

OPEN = ("mesh.",)  # what it may change in a run


def run(words: list[str]) -> int:
    """Write posteriors."""
    return work_on(*prepared(words))


def prepared(words: list[str]) -> tuple[Path, Callable[[], "Posterior"]]:
    """Return the run that is meant, and what infers its posteriors."""
    from avi.config.schema import check
    from avi.settings import Split

    own, others = own_words("infer", words, more=OPEN)
    folder = run_folder(own, "infer")
    split: Split = check(own.get("split", "test"), Split, "split")
    data, out, limit = data_file(own, "data"), path(own, "out"), whole(own, "limit")
    step = checkpoint(own)

    from avi.run import posterior

    return folder, lambda: posterior.main(folder, split, data, out, limit, step, others)


def offer(line: Line) -> list[str]:
    """Return its keys."""
    from avi.cli import offers

    of_the_run = offers.keys_of_training(line.chosen)
    changed = [key for key in of_the_run if key.startswith(OPEN)]
    return offers.settings(line, [*own_keys("infer"), *changed])


COMMAND = Command(
    name="infer",
    summary="write the posteriors of a run's rows, or of your own data",
    usage="avi infer [key=value ...]",
    examples="""\
  avi infer run=outputs/train/<folder>
  avi infer run=<folder> split=train
  avi infer run=<folder> data=mine.csv out=results
""",
    run=run,
    offer=offer,
)
