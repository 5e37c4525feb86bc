"""The arrays that a report draws: observations, reconstructions, samples, the latent space."""

import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from avi.abilities import Decodable
from avi.engine.lanes import in_lanes
from avi.population import Points
from avi.randomness import key_for
from avi.run.session import Session
from avi.rundir import atomic_write
from avi.types import Params, X

SHOWN = 20  # observations and samples
SCATTERED = 1000  # points of the latent space


def write_snapshot(session: Session, params: Params, folder: Path) -> None:
    """Write snapshot.npz, all float32: what the figures of the report are made of."""
    problem, dataset = session.experiment.problem, session.experiment.dataset
    key = key_for(session.experiment.seed, "figures")
    points = session.points("test", SCATTERED)
    if not len(points):
        points = session.points("train", SCATTERED)
    lams = session.evaluator().lams(params, points, key)
    arrays: dict[str, Any] = {
        "rows": points.ids,
        "latent_mean": in_lanes(lambda _, lam: problem.family.mean(lam))(None, lams),
        "latent_std": in_lanes(lambda _, lam: problem.family.standard_deviation(lam))(None, lams),
        "image_shape": np.array(dataset.image_shape or ()),
    }
    arrays |= _labels(session, points) | _observations(session, params, points, lams, key)
    buffer = io.BytesIO()
    np.savez(buffer, **{name: _single(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    atomic_write(folder / "snapshot.npz", buffer.getvalue())


def _observations(
    session: Session, params: Params, points: Points, lams: np.ndarray, key: Array
) -> dict[str, np.ndarray]:
    model, family = session.experiment.problem.model, session.experiment.problem.family
    view = session.experiment.dataset.fixed().view
    example = session.spec.example
    if not isinstance(model, Decodable) or not isinstance(example, jax.Array | np.ndarray):
        return {}
    decodable: Decodable = model

    def seen(_: None, row: PyTree, number: Array) -> X:
        return view(row, number, jnp.zeros((), jnp.int32))

    def reconstructed(theta: PyTree, lam: Array) -> X:
        return decodable.decode(theta, family.mean(lam), example)

    def sampled(theta: PyTree, number: Array) -> X:
        z, _ = model.sample(theta, jax.random.fold_in(key, number), example)
        return decodable.decode(theta, z, example)

    # Labelled rows may be sorted by class: every k-th shows them all.
    chosen = np.linspace(0, len(points) - 1, min(SHOWN, len(points))).astype(int)
    rows = jax.tree.map(lambda leaf: leaf[chosen], points.rows)
    return {
        "inputs": in_lanes(seen)(None, rows, points.ids[chosen]),
        "reconstructions": in_lanes(reconstructed)(params.theta, lams[chosen]),
        "samples": in_lanes(sampled)(params.theta, np.arange(SHOWN)),
    }


def _labels(session: Session, points: Points) -> dict[str, np.ndarray]:
    labels = session.splits.labels
    if labels is None:
        return {}
    return {"labels": np.concatenate([labels[s] for s in ("train", "valid", "test")])[points.ids]}


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array
