"""What a person should know of a run that its numbers do not say."""

import numpy as np

from avi.abilities import Conjugate, Remarkable, Standardising, TrainsAnother
from avi.datasets.base import repeated_rows
from avi.engine.step import TrainState
from avi.phi import is_amortized
from avi.process.grammar import many, verb
from avi.results import metrics
from avi.run.session import Session
from avi.rundir import RunDir

RISEN = 0.1  # nats of a tenth of a run: less is not worth a word
FEWEST_LINES = 5  # of metrics.jsonl at the end, whose spread around a line tells their noise
CHANCE = 1e-3  # that noise alone is called a rise


def remarks(session: Session, state: TrainState) -> list[str]:
    """Return the remarks on a run that has ended."""
    model = session.experiment.problem.model
    of_model = model.remarks(state.params.theta) if isinstance(model, Remarkable) else []
    of_steps = of_objective(session)
    return [
        *of_steps,
        *of_model,
        *of_data(session),
        *repeated(session),
        *cold_start(session, state),
    ]


def understood(session: Session) -> list[str]:
    """Return how a person's own file was read, and how it is scaled, a line each."""
    lines, scale = list(session.splits.understood), session.splits.scale
    model = session.experiment.problem.model
    if isinstance(model, Standardising):
        lines.append(
            "Columns are standardised; bounds in your units (dataset.standardize=none: raw)."
        )
    elif scale is not None:
        lines.append(f"Not standardised: {type(model).__name__} is in the units of the file.")
    return lines


def of_objective(session: Session) -> list[str]:
    """Return what the steps climb where that is not the bound that is reported."""
    objective, name = session.experiment.problem.objective, session.experiment.problem.bound_name
    if not isinstance(objective, TrainsAnother):
        return []
    return [f"Trained: {objective.trained_name}. Reported, here and everywhere: the {name}."]


def of_data(session: Session) -> list[str]:
    """Return what a person should know of the rows, and of those that a run does not look at."""
    of_words = [
        f"{left} of {words} words ({100 * left / words:.2g} %) of the {split} documents "
        f"{verb(left, 'are')} in no training document and left out: the bounds are of the others."
        for split, (left, words) in session.splits.unseen.items()
        if left
    ]
    num_data, size = session.spec.num_data, session.batch_size
    left_out = num_data % size if session.experiment.train.epochs else 0
    of_batches = [
        f"{left_out} of {num_data} training rows {verb(left_out, 'are')} in no batch of an epoch, "
        f"others in each: train.batch_size={size} does not divide them. Try "
        f"train.batch_size={_even(num_data, size)}."
    ]
    asked = session.experiment.train.batch_size or size
    of_all = [
        f"Every step has the whole training set, {many(num_data, 'row')}: train.batch_size={asked} "
        "is more."
    ]
    return [
        *session.splits.remarks,
        *_scored_as_real(session),
        *of_words,
        *(of_batches if left_out > num_data / 100 else []),
        *(of_all if asked > size else []),
    ]


def _scored_as_real(session: Session) -> list[str]:
    """Return that counts or bits are scored by a density of real numbers, where they are."""
    support, model = session.experiment.dataset.support, session.experiment.problem.model
    better = {
        "count": "likelihood=poisson, or likelihood=negative_binomial",
        "binary": "likelihood=bernoulli",
    }.get(support)
    if better is None or model.support != "real" or not hasattr(model, "likelihood"):
        return []
    words = {"count": "counts", "binary": "bits"}[support]
    return [
        f"The data are {words}, scored by a density of real numbers: its bound is no log "
        f"probability of {words}, and cannot stand beside one. Try {better}."
    ]


def _even(num_data: int, size: int) -> int:
    """Return the size nearest to this one that leaves out no more than 1 % of the rows."""
    return min(
        range(1, num_data + 1),
        key=lambda batch: (num_data % batch > num_data / 100, abs(batch - size)),
    )


def ending(run: RunDir, epochs: int) -> list[str]:
    """Return what the record says of the end: a run that fell is not told to go on."""
    return fallen(run) or rising(run, epochs)


def fallen(run: RunDir) -> list[str]:
    """Return that a run ends far below its own best on validation, where it does."""
    valid = [line for line in metrics.measured(run) if line.split == "valid"]
    if not valid:
        return []
    best, last = max(valid, key=lambda line: line.value), valid[-1]
    # The same rows and draws at both steps: their difference has less noise than either.
    if not best.value - last.value > last.standard_error:
        return []
    fell = f"The validation bound was {best.value:.2f} at step {best.step} and ends at"
    if last.certificate > (best.value - last.value) / 2:
        return [
            f"{fell} {last.value:.2f}: the searches for these rows, which are in no table, end "
            f"{last.certificate:.2f} nats short of their tops. Try more of inference.refine.steps."
        ]
    return [
        f"{fell} {last.value:.2f}: the run has learned its training rows by heart, or come apart. "
        "checkpoint=best, in `avi gap` and `avi infer`, takes the best that was saved."
    ]


def rising(run: RunDir, epochs: int) -> list[str]:
    """Return that training ends while its bound still rises, where it does."""
    from scipy.stats import linregress  # takes half a second to import
    from scipy.stats import t as student

    values = np.array([line.value for line in metrics.measured(run) if line.split == "batches"])
    number = len(values)
    if number < FEWEST_LINES:
        return []
    last = np.arange(max(number // 5, FEWEST_LINES))
    line = linregress(last, values[-len(last) :])
    gain, noise = line.slope * number / 10, line.stderr * number / 10
    if not gain > max(RISEN, student.isf(CHANCE, len(last) - 2) * noise):
        return []
    return [
        f"The training bound still rises, by {gain:.2f} nats in the last tenth of the run: what it "
        f"reached is not yet what this model can. Try train.epochs={2 * epochs}."
    ]


def repeated(session: Session) -> list[str]:
    """Return how many test rows were seen in training, where any were."""
    found, of_all = repeated_rows(session.splits), len(session.points("test"))
    also = "also a training row" if found == 1 else "also training rows"
    return [f"{found} of the {of_all} test rows {verb(found, 'are')} {also}."] if found else []


def cold_start(session: Session, state: TrainState) -> list[str]:
    """Return what to type where an encoder trains from scratch together with a model's globals."""
    problem, settings = session.experiment.problem, session.experiment.train
    learns = is_amortized(problem.inference, state.params.phi)
    given = any(one is not None for one in (settings.start, settings.weights, settings.freeze))
    if given or not learns or not isinstance(problem.model, Conjugate):
        return []
    return [
        f"The globals of {type(problem.model).__name__} start from scratch with the encoder: they "
        "may collapse while the gap looks small. Compare bounds, or train inference=svi first and "
        "add train.start=<that run> optimizer.theta.tau=10000 (small moves: an untrained "
        "encoder would ruin them)."
    ]
