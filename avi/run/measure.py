"""`avi gap`: measure what inference loses on a trained run, at any of its checkpoints."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from avi import gap
from avi.config.schema import build
from avi.engine import devices
from avi.errors import ConfigError
from avi.problem import fit, require_same_latent
from avi.process.signals import Stop
from avi.process.terminal import measured, say
from avi.report.wording import audited
from avi.results import ladder
from avi.results.gap import GapSummary
from avi.results.ladder import Ladder
from avi.results.store import Files
from avi.run.against import Named, measure_against, read_others
from avi.run.product import End, Made, Product
from avi.run.session import Session, open_session, require_same_data, restored
from avi.rundir import RunDir, instruction_set, versions
from avi.types import Family, Inference

SHORT = 0.1  # nats of a mean that the searches for new rows may miss without a word
# What a point's numbers depend on, beside the parameters and the settings that `gap.report` knows.
DECISIVE = ("model", "family", "inference", "objective", "refine", "dataset", "precision")


def main(
    run: Path,
    tree: Mapping[str, Any],
    checkpoint: int | Literal["best"] | None = None,
    families: Mapping[str, Any] = MappingProxyType({}),
    against: Path | Named | None = None,
) -> GapSummary:
    """Write gap/ and the page of `run`, and return the report; one that was killed goes on.

    Args:
        run: a run folder.
        tree: its configuration, changed where the words of the command said so.
        checkpoint: step of the checkpoint, or the best on validation; None: the newest.
        families: the configuration of each family to compare on the same rows, by name.
        against: a file of other rows, or a data set, measured beside the run's own.

    Raises:
        DataError: the rows are not those that the run began with.
        NonFiniteError: the bound of a row is not a finite number.
        ValidityError: the report contradicts itself or, with gap.strict, a validity flag is false.
    """
    with RunDir.open(run).locked() as folder, Stop() as stop:
        session = open_session(tree, folder)
        settings = session.experiment.gap
        if not settings.num_points:
            raise ConfigError("gap.num_points=0 measures nothing. Try gap.num_points=100.")
        require_same_data(session, folder)
        state, step = restored(session, folder, checkpoint)
        say(f"Measuring {run} at step {step}.")
        others = None if against is None else read_others(session, against)
        summary = gap.report(
            session.experiment,
            state.params,
            session.splits,
            settings=settings,
            run=folder,
            on_progress=lambda *_: stop.check(),
            identity=identity(session, tree),
            families=_built(session, families),
        )
        climbed = ladder.read(Files(folder.path)) if families else None
        parted: list[str] = []
        if others is not None:
            parted = measure_against(
                session,
                state.params,
                others,
                folder=folder.path,
                summary=summary,
                on_progress=lambda *_: stop.check(),
            )
        from avi.report.run_page import write_report

        report = write_report(run)
    for line in [*lines(summary), *(ladder_lines(climbed) if climbed else []), *parted]:
        say(line)
    say(str(report))
    gap.require_finite(summary)
    gap.check(summary, strict=settings.strict)
    return summary


def identity(session: Session, tree: Mapping[str, Any]) -> str:
    """Return what `gap.report` does not know of all that decides the last bits of its numbers."""
    known = {
        **{key: tree[key] for key in DECISIVE},
        "data_sha256": session.data_sha256(),
        "versions": versions(),
        "instruction_set": instruction_set(),
        "device": devices.description(),
    }
    return json.dumps(known)


def _built(session: Session, families: Mapping[str, Any]) -> dict[str, Family]:
    model = session.experiment.problem.model
    found = {}
    for name, node in families.items():
        family = build(node, f"family={name}")
        require_same_latent(model, family)
        found[name] = fit(family, model, family, "family")
    return found


def ladder_lines(climbed: Ladder) -> list[str]:
    """Return what the terminal shows of a ladder of families."""
    shown = []
    for rung in climbed.rungs:
        value = measured(rung.bound, rung.bound_se)
        gain = f", gain {rung.gain:.3f} ± {rung.gain_se:.3f}" if rung.gain_value.known else ""
        shown.append(f"{rung.split:5} {rung.family}")
        shown.append(f"{'':5} {'ELBO at λ*':18} {value}{gain}")
        shown.append(f"{'':5} {'converged':18} {rung.converged} of {rung.n} rows")
    return shown


def lines(summary: GapSummary) -> list[str]:
    """Return what the terminal shows of a report."""
    shown = [f"rows of gap.rows={summary.rows}, named and not drawn"] if summary.rows else []
    for split, one in summary.splits.items():
        for name, value in (
            (summary.bound, one.bound),
            (summary.gap_name, one.amortization_gap),
            ("approximation gap", one.approximation_gap),
        ):
            if value.known:
                shown.append(f"{split:5} {name:18} {measured(value.mean, value.se)}, n = {one.n}")
        shown.append(f"{split:5} {'converged':18} {one.converged} of {one.n} rows")
    if (lost := summary.generalisation_gap) is not None:
        shown.append(
            f"test - train amortization gap: {measured(lost.mean, lost.se).strip()}, "
            "the encoder's generalisation gap"
        )
    shown += [said] if (said := audited(summary.audit)) else []
    shown += [f"skipped: {sentence}" for sentence in summary.skipped]
    shown += [f"{verdict}."] if (verdict := summary.validity.verdict) else []
    return [*shown, *gap.not_finite(summary)]


def _make(end: End) -> Made:
    experiment = end.session.experiment
    summary = gap.report(
        experiment,
        end.params,
        end.session.splits,
        settings=experiment.gap,
        run=end.run,
        on_progress=lambda *_: end.stop(),
    )
    # The training is done whatever its report found: a remark here, exit 5 of `avi gap`.
    return Made(
        lines(summary),
        [*gap.not_finite(summary), *_short(experiment.problem.inference, summary)],
        lambda: gap.check(summary, strict=experiment.gap.strict),
    )


def _short(inference: Inference, summary: GapSummary) -> list[str]:
    """Return that the searches for rows outside a table end short of their tops, where they do."""
    if not inference.per_datapoint:
        return []
    return [
        f"The {split} rows are not in the table: each is searched anew, and these searches end "
        f"{one.amortization_gap.mean:.2f} nats short of their tops, which the {split} bound "
        "misses. Try more of inference.refine.steps."
        for split, one in summary.splits.items()
        if split != "train" and one.amortization_gap.mean > SHORT
    ]


PRODUCT = Product(
    files=("gap",),
    due=lambda session: bool(session.experiment.gap.num_points),
    make=_make,
)
