"""The arrays that a report draws: observations, reconstructions, samples, the latent space."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from avi.abilities import Decodable
from avi.engine.evaluator import decoded, moments
from avi.engine.lanes import in_lanes
from avi.population import Points
from avi.randomness import key_for
from avi.results.snapshot import SNAPSHOT, Snapshot, write
from avi.results.store import packed
from avi.run.product import End, Made, Product
from avi.run.session import Session
from avi.settings import SPLITS
from avi.types import Params, X

SHOWN = 20  # observations and samples
SCATTERED = 1000  # points of the latent space


def snapshot(session: Session, params: Params) -> Snapshot:
    """Return what the figures of the report are made of."""
    problem, dataset = session.experiment.problem, session.experiment.dataset
    key = key_for(session.experiment.seed, "figures")
    points = session.points("test", SCATTERED)
    if not len(points):
        points = session.points("train", SCATTERED)
    lams = session.evaluator().lams(params, points, key)
    mean, deviation = moments(problem, params.psi, lams)
    return Snapshot(
        rows=session.splits.origin.rows_of(points.ids),
        latent_mean=mean,
        latent_std=deviation,
        image_shape=np.array(dataset.image_shape or ()),
        **_labels(session, points),
        **_observations(session, params, points, mean, key),
    )


def _observations(
    session: Session, params: Params, points: Points, means: np.ndarray, key: Array
) -> dict[str, np.ndarray]:
    model = session.experiment.problem.model
    view = session.experiment.dataset.fixed().view
    example = session.spec.example
    if not isinstance(model, Decodable) or not isinstance(example, jax.Array | np.ndarray):
        return {}
    decodable: Decodable = model

    def seen(_: None, row: PyTree, number: Array) -> X:
        return view(row, number, jnp.zeros((), jnp.int32))

    def sampled(shared: tuple[PyTree, Array], number: Array) -> X:
        theta, key = shared
        z, _ = model.sample(theta, jax.random.fold_in(key, number), example)
        return decodable.decode(theta, z, example)

    # Labelled rows may be sorted by class: every k-th shows them all.
    chosen = np.linspace(0, len(points) - 1, min(SHOWN, len(points))).astype(int)
    rows = jax.tree.map(lambda leaf: leaf[chosen], points.rows)
    return {
        "inputs": in_lanes(seen)(None, rows, points.ids[chosen]),
        "reconstructions": decoded(decodable, params.theta, means[chosen], example),
        "samples": in_lanes(sampled)((params.theta, key), np.arange(SHOWN)),
    }


def _labels(session: Session, points: Points) -> dict[str, np.ndarray]:
    """Return the labels of the points: as they are, or numbers and their names."""
    labels = session.splits.labels
    if labels is None:
        return {}
    whole = np.concatenate([labels[split] for split in SPLITS])
    if whole.dtype.kind != "U":
        return {"labels": whole[points.ids]}
    names, numbers = np.unique(whole, return_inverse=True)
    return {"labels": numbers[points.ids], "label_names": packed(names.tolist())}


def _make(end: End) -> Made:
    write(end.run.path, snapshot(end.session, end.params))
    return Made()


PRODUCT = Product(
    files=(SNAPSHOT,), due=lambda session: session.experiment.train.report, make=_make
)
