"""parts.json: what the ELBO of a run is made of, and which of its latents say anything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from avi.results.record import NAN, Count, Value, plain, restored
from avi.results.store import Files
from avi.rundir import atomic_write

PARTS = "parts.json"


@dataclass(frozen=True)
class SplitParts:
    """Means over the rows of a split that its final bound is of: ELBO = reconstruction - kl."""

    reconstruction: float = NAN  # E_q[log p(x | z)], nats per datapoint
    kl: float = NAN  # KL(q(z | x) || p(z)), nats per datapoint
    kl_of_each: tuple[float, ...] = ()  # of the marginal of each latent; their sum is at most kl
    active: Count = NAN  # latents whose posterior mean has a variance above 0.01 over the rows
    active_by_kl: Count = NAN  # latents whose own KL is above 0.01 nats
    kl_se: float = NAN  # of the draws of the KL, and so of the reconstruction's; NaN: it is exact

    @property
    def divergence(self) -> Value:
        """The KL and the error of its draws."""
        return Value(self.kl, self.kl_se)


@dataclass(frozen=True)
class Parts:
    """The content of parts.json."""

    splits: Mapping[str, SplitParts] = field(default_factory=dict)
    independent: float = NAN  # log p of the test rows under independent coordinates, where known


def write(folder: Path, parts: Parts) -> None:
    """Write parts.json of the run in `folder`."""
    atomic_write(folder / PARTS, (json.dumps(plain(parts), indent=1) + "\n").encode())


def read(files: Files) -> Parts | None:
    """Return the parts of a run's bounds, None where they were not measured."""
    tree = files.json(PARTS)
    return restored(Parts, tree) if tree else None
