"""Posterior draws in ArviZ's schema, as one NetCDF file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from avi.exports.extra import imported
from avi.rundir import atomic_write, make_folder

EXTRA, ASKED = "arviz", "to=arviz"
SUFFIX = ".nc"


class Statistic(NamedTuple):
    """One number for every row, NaN where it is not known, and what it is."""

    values: Float[np.ndarray, " n"]
    meaning: str


class Drawn(NamedTuple):
    """S draws from q(z | x) of each of n rows, and what is known of them."""

    row: np.ndarray  # [n], the user's numbers, or names of documents
    z: np.ndarray  # [n, S, D], categories [n, S]
    log_joint: Float[np.ndarray, "n S"]  # log p(x, z) at these draws, nats
    log_q: Float[np.ndarray, "n S"]  # log q(z | x)
    log_likelihood: Float[np.ndarray, "n S"] | None  # log p(x | z), where the model has it
    x: np.ndarray | None  # [n, ...], what the bound scores, where that is one array
    statistics: Mapping[str, Statistic]


def require() -> None:
    """Refuse before anything is computed what could not be written.

    Raises:
        ConfigError: a library is not installed; names the extra.
    """
    for library in ("arviz_base", "h5netcdf", "h5py"):
        imported(library, EXTRA, ASKED)


def tree(drawn: Drawn, attributes: Mapping[str, str | int]) -> Any:
    """Return the xarray.DataTree of these draws.

    Its draws are independent: one chain. Groups: posterior (z), log_likelihood (x), sample_stats
    (lp and log_q of every draw, the statistics of every row), observed_data (x).
    """
    arviz = imported("arviz_base", EXTRA, ASKED)
    latent = ["latent"] if drawn.z.ndim == 3 else []
    groups = {
        "posterior": {"z": _by_draw(drawn.z)},
        "sample_stats": {"lp": _by_draw(drawn.log_joint), "log_q": _by_draw(drawn.log_q)},
    }
    dims = {"z": ["row", *latent], "lp": ["row"], "log_q": ["row"]}
    if drawn.log_likelihood is not None:
        groups["log_likelihood"] = {"x": _by_draw(drawn.log_likelihood)}
    found = arviz.from_dict(groups, coords={"row": drawn.row}, dims=dims | {"x": ["row"]})
    if drawn.x is not None:
        parts = [f"x_dim_{place}" for place in range(drawn.x.ndim - 1)]
        observed = arviz.from_dict(
            {"observed_data": {"x": drawn.x}},
            coords={"row": drawn.row},
            dims={"x": ["row", *parts]},
        )
        found["observed_data"] = observed["observed_data"]
    statistics = {
        name: ("row", one.values, {"description": one.meaning})
        for name, one in drawn.statistics.items()
    }
    stats = found["sample_stats"]
    stats.dataset = stats.to_dataset().assign(statistics)
    found.attrs = dict(attributes)
    return found


def write(path: Path, drawn: Drawn, attributes: Mapping[str, str | int]) -> Path:
    """Write the draws to `path`, wholly or not at all, and return it."""
    make_folder(path.parent)
    atomic_write(path, bytes(tree(drawn, attributes).to_netcdf(engine="h5netcdf")))
    return path


def _by_draw(values: np.ndarray) -> np.ndarray:
    """Return [n, S, ...] as ArviZ has it, [chain, draw, row, ...]."""
    return np.swapaxes(values, 0, 1)[None]
