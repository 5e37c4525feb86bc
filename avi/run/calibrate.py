"""`avi calibrate`: simulation-based calibration of a run, at any of its checkpoints."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from avi.calibrate import calibration
from avi.gap.context import Clock, Context
from avi.gap.folder import ledger
from avi.process.terminal import say
from avi.report.calibration_page import levels, rows
from avi.report.wording import probability
from avi.results import calibration as records
from avi.results.calibration import Calibration, Quantity
from avi.run.session import Step, open_session, require_same_data, restored
from avi.rundir import RunDir
from avi.settings import CalibrateSettings

WIDTH = 80  # of the table
LISTED = 12  # coordinates of z in it


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


def lines(found: Calibration) -> list[str]:
    """Return the table of the terminal, within `WIDTH` columns."""
    shares = levels(found)
    names = ["own q"] + (["q at λ*"] if found.best is not None else [])
    heads = _side("p", "", [f"{100 * share:.3g}%" for share in shares])
    listed, left = _listed(found)
    shown = [
        f"{found.n:g} rows of the model, {found.num_draws:g} draws of q for each",
        _line("", [name.ljust(len(heads)) for name in names]),
        _line("", [heads for _ in names]),
        *(_line(name, [_cells(found, one) for one in under]) for name, under in listed),
    ]
    if left:
        shown.append(f"and {left} more, whose p is larger: calibration.json has all")
    if math.isfinite(found.certified):
        shown.append(f"λ* converged for {found.certified:g} of {found.n:g} rows")
    rate = f"{found.band_rate:.3g}"
    shown.append(f"* ranks outside their band, which uniform ones leave with probability {rate}")
    if shares:
        shown.append("%: rows whose true z the central interval of q holds")
    said = [*found.remarks, f"{found.verdict}."]
    return [*shown, *(line for words in said for line in textwrap.wrap(words, WIDTH))]


def _line(name: str, cells: list[str]) -> str:
    return (f"{name:13}" + "   ".join(cells)).rstrip()


def _side(p: str, said: str, shares: list[str]) -> str:
    return f"{p:9}{said:12}" + "".join(f"{share:>5}" for share in shares)


def _cells(found: Calibration, one: Quantity | None) -> str:
    if one is None:
        return ""
    outside = one.p <= found.failure_rate
    shares = [f"{100 * each.share:.0f}" for each in one.coverage] or [""] * len(levels(found))
    p = f"{probability(one.p)}{'*' if outside else ''}"
    return _side(p, one.fault(found.n) if outside else "", shares)


def _listed(found: Calibration) -> tuple[list[tuple[str, list[Quantity | None]]], int]:
    """Return the rows of the table, the coordinates of smallest p where they are many."""
    every = rows(found)

    def smallest(row: tuple[str, list[Quantity | None]]) -> float:
        return min((one.p for one in row[1] if one and math.isfinite(one.p)), default=1.0)

    latents = [row for row in every if (one := row[1][0]) and not one.of_all]
    kept = sorted(latents, key=smallest)[:LISTED]
    listed = [row for row in every if row in kept or row not in latents]
    return listed, len(every) - len(listed)
