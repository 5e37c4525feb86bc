"""gap/lams.npz: the best lam that was found for each row, and how sure it is the top."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from avi.results.store import Files, npz
from avi.rundir import atomic_write

LAMS = "gap/lams.npz"


@dataclass(frozen=True)
class Lams:
    """One entry per row that a report has searched; None where there is no file."""

    row: np.ndarray | None = None  # the user's own row
    id: np.ndarray | None = None  # counted through train, validation and test
    lam: np.ndarray | None = None  # [n, P]
    certificate: np.ndarray | None = None  # nats that lam still lacks
    certificate_se: np.ndarray | None = None
    converged: np.ndarray | None = None
    theta_sha256: np.ndarray | None = None  # bytes: of the parameters that the search was for

    def of(self, theta_sha256: bytes, num_params: int) -> dict[int, np.ndarray]:
        """Return id -> lam where they were found for these parameters, else nothing."""
        ids, lam, theirs = self.id, self.lam, self.theta_sha256
        if ids is None or lam is None or theirs is None or theirs.tobytes() != theta_sha256:
            return {}
        sound = ids.dtype.kind in "iu" and lam.shape == (len(ids), num_params)
        if not sound or lam.dtype.kind != "f" or not np.isfinite(lam).all():
            return {}
        return dict(zip(ids.tolist(), lam, strict=True))


def write(folder: Path, lams: Lams) -> None:
    """Write gap/lams.npz of the run in `folder`."""
    (folder / "gap").mkdir(parents=True, exist_ok=True)
    arrays = {name: array for name, array in vars(lams).items() if array is not None}
    atomic_write(folder / LAMS, npz(arrays))


def read(files: Files) -> Lams:
    """Return the arrays that are there."""
    found = files.arrays(LAMS)
    return Lams(**{each.name: found.get(each.name) for each in fields(Lams)})
