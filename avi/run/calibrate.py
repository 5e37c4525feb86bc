"""`avi calibrate`: simulation-based calibration of a run, at any of its checkpoints."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from avi.calibrate import calibration
from avi.gap.context import Clock, Context
from avi.gap.folder import ledger
from avi.process.terminal import say
from avi.report.calibration_page import lines
from avi.results import calibration as records
from avi.results.calibration import Calibration
from avi.run.session import Step, open_session, require_same_data, restored
from avi.rundir import RunDir
from avi.settings import CalibrateSettings


def main(
    run: Path,
    tree: Mapping[str, Any],
    settings: CalibrateSettings,
    checkpoint: Step = None,
    *,
    quiet: bool = False,
) -> Calibration:
    """Write calibration.json and the page of `run`, and return what was found.

    Args:
        run: a run folder.
        tree: its configuration, changed where the words of the command said so.
        settings: how many rows and draws.
        checkpoint: step of the checkpoint, or the best on validation; None: the newest.
        quiet: print nothing.

    Raises:
        ConfigError: z is neither a vector nor a category.
        DataError: the rows are not those that the run began with.
        NonFiniteError: log p(x, z) is not a number somewhere.
    """
    with RunDir.open(run).locked() as folder:
        session = open_session(tree, folder)
        require_same_data(session, folder)
        state, step = restored(session, folder, checkpoint)
        experiment = session.experiment
        if not quiet:
            say(f"Calibrating {run} at step {step}.")
        gap = replace(experiment.gap, simulated=settings.num_points)
        context = Context(
            experiment,
            state.params,
            session.splits,
            gap,
            ledger(None, experiment, state.params, gap, None),
            _silence,
            Clock(None),
        )
        found = calibration(context, settings, step)
        records.write(folder.path, found)
        from avi.report.run_page import write_report

        page = write_report(run)
    if not quiet:
        for line in [*lines(found), str(page)]:
            say(line)
    return found


def _silence(what: str, share: float) -> None:
    del what, share
