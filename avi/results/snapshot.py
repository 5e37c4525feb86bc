"""snapshot.npz: the arrays that the figures of a page are made of."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from avi.results.store import Files, npz, unpacked
from avi.rundir import atomic_write

SNAPSHOT = "snapshot.npz"


@dataclass(frozen=True)
class Snapshot:
    """Observations and latent means; None where the model or the data have no such thing."""

    rows: np.ndarray | None = None  # ids [M]
    latent_mean: np.ndarray | None = None  # [M, D]
    latent_std: np.ndarray | None = None  # [M, D]
    image_shape: np.ndarray | None = None  # [2 or 3], [0] for what is no image
    labels: np.ndarray | None = None  # [M]
    label_names: np.ndarray | None = None  # of labels 0, 1, ..., a line each, as bytes of UTF-8
    inputs: np.ndarray | None = None  # [n, ...]
    input_rows: np.ndarray | None = None  # ids [n]
    reconstructions: np.ndarray | None = None  # [n, ...]
    samples: np.ndarray | None = None  # [n, ...]

    @property
    def named_labels(self) -> np.ndarray | None:
        """The labels by name, where they have names, [M]."""
        names = np.array(unpacked(self.label_names))
        if self.labels is None or not names.size:
            return self.labels
        fits = self.labels.dtype.kind in "iu" and self.labels.max(initial=0) < len(names)
        return names[self.labels] if fits and self.labels.min(initial=0) >= 0 else self.labels

    @property
    def known(self) -> bool:
        """Whether there is any array."""
        return any(value is not None for value in vars(self).values())


def write(folder: Path, snapshot: Snapshot) -> None:
    """Write snapshot.npz of the run in `folder`, all numbers in single precision."""
    arrays = {name: _single(array) for name, array in vars(snapshot).items() if array is not None}
    atomic_write(folder / SNAPSHOT, npz(arrays))


def read(files: Files) -> Snapshot:
    """Return the arrays that are there."""
    found = files.arrays(SNAPSHOT)
    return Snapshot(**{each.name: found.get(each.name) for each in fields(Snapshot)})


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array
