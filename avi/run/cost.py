"""What one observation that was not trained on costs: the second claim of amortized inference."""

from time import perf_counter

import jax
import numpy as np

from avi.engine.evaluator import Evaluator
from avi.population import Points
from avi.randomness import key_for
from avi.results import facts
from avi.results.facts import Cost
from avi.run.product import End, Made, Product
from avi.run.session import Session
from avi.types import Params

BATCH = 1000  # observations at once
REPEATS = 20  # of one observation at a time; the median counts


def measure(session: Session, params: Params, evaluator: Evaluator, points: Points) -> Cost:
    """Time the mode on such points, none of them in a table, one at a time and 1000 at a time."""
    problem = session.experiment.problem
    unseen = problem.inference.unseen()
    evaluations = unseen.inner_calls() * problem.objective.evaluations(problem.family)
    key = key_for(session.experiment.seed, "infer")
    many = _repeat(points, BATCH, session.spec.num_data)
    one = _repeat(points, 1, session.spec.num_data)
    return Cost(
        "optimisation" if evaluations else "forward pass",
        evaluations,
        _milliseconds(evaluator, params, one, key, REPEATS, width=1),
        _milliseconds(evaluator, params, many, key, 1, width=BATCH) / BATCH,
    )


def _repeat(points: Points, number: int, num_data: int) -> Points:
    """Return `number` observations with ids outside the training set, repeating rows if need be."""
    index = np.arange(number) % len(points)
    rows = jax.tree.map(lambda leaf: leaf[index], points.rows)
    return Points(rows, num_data + np.arange(number))


def _milliseconds(
    evaluator: Evaluator, params: Params, points: Points, key: jax.Array, repeats: int, width: int
) -> float:
    evaluator.lams(params, points, key, width=width)
    seconds = []
    for _ in range(repeats):
        started = perf_counter()
        evaluator.lams(params, points, key, width=width)
        seconds.append(perf_counter() - started)
    return 1000 * float(np.median(seconds))


def _make(end: End) -> Made:
    session = end.session
    points = session.points("test" if len(session.points("test")) else "train")
    found = measure(session, end.params, session.evaluator(), points)
    facts.record(end.run, new_observation=found)
    return Made()


PRODUCT = Product(files=(), due=lambda session: session.experiment.train.report, make=_make)
