"""What a person should know of a run that its numbers do not say."""

from avi.abilities import Conjugate, Remarkable
from avi.datasets.base import repeated_rows
from avi.engine.step import TrainState
from avi.phi import is_amortized
from avi.run.session import Session


def remarks(session: Session, state: TrainState) -> list[str]:
    """Return the remarks on a run that has ended."""
    model = session.experiment.problem.model
    of_model = model.remarks(state.params.theta) if isinstance(model, Remarkable) else []
    return [*of_model, *repeated(session), *cold_start(session, state)]


def repeated(session: Session) -> list[str]:
    """Return how many test rows were seen in training, where any were."""
    found, of_all = repeated_rows(session.splits), len(session.points("test"))
    return [f"{found} of the {of_all} test rows are also training rows."] if found else []


def cold_start(session: Session, state: TrainState) -> list[str]:
    """Return what to type where an encoder trains from scratch together with a model's globals."""
    problem, settings = session.experiment.problem, session.experiment.train
    learns = is_amortized(problem.inference, state.params.phi)
    given = settings.start is not None or settings.freeze is not None
    if given or not learns or not isinstance(problem.model, Conjugate):
        return []
    return [
        f"The globals of {type(problem.model).__name__} start from scratch with the encoder: they "
        "may collapse while the gap looks small. Compare bounds, or train inference=svi first and "
        "add train.start=<that run> optimizer.theta.tau=10000 (small moves: an untrained "
        "encoder would ruin them)."
    ]
