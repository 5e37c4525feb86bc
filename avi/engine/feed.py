"""How training rows get to the device: all of them once, or the rows of some steps at a time.

Rows that would take more than the device's budget stay in a memory-mapped file on the host. The
rows of the next steps are read and copied while the device works on those before; a step sees the
same rows, the same ids and the same keys either way.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Array, Int, PyTree

from avi.engine.buckets import place, take
from avi.engine.placement import ONE, Placement
from avi.errors import ConfigError
from avi.mapped import Mapped
from avi.ragged import Ragged

WINDOW_BYTES = 64_000_000  # of rows copied at a time: about a second of steps


class Window(NamedTuple):
    """The rows of consecutive steps on the device, in the order in which they are visited."""

    rows: PyTree[Array | np.ndarray]  # leading axes: steps, B or more
    first_step: Int[Array | np.ndarray, ""]


class Feed(Protocol):
    """Where a run of steps finds its rows."""

    def at(self, step: int) -> PyTree: ...  # what `batch` takes the rows of `step` from
    def stop(self, step: int) -> int | None: ...  # where what `at(step)` returns ends
    def prefetch(self, step: int) -> None: ...

    @property
    def where(self) -> Any: ...  # the placement of what `at` returns


def num_bytes(rows: PyTree[np.ndarray]) -> int:
    """Return the bytes that rows take as stored."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(rows))


def fits(rows: PyTree[np.ndarray], device_budget: float, placement: Placement) -> bool:
    """Whether the devices together hold the rows, in `device_budget` bytes each."""
    return num_bytes(rows) <= device_budget * placement.num_devices


def _bytes_of_a_row(leaf: Any) -> int:
    return math.prod(leaf.shape[1:]) * leaf.dtype.itemsize


def mapped(rows: PyTree[np.ndarray], folder: Path) -> PyTree[np.ndarray]:
    """Return the same rows in memory-mapped files of `folder` that vanish with the process.

    Those that are on disk already stay where they are.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, Mapped):
            return leaf
        if isinstance(leaf, Ragged):
            return replace(leaf, values=one(leaf.values))
        with tempfile.TemporaryFile(dir=folder) as file:
            leaf.tofile(file)
            return np.memmap(file, leaf.dtype, "r", shape=leaf.shape)

    return jax.tree.map(one, rows)


def make_feed(
    rows: PyTree[np.ndarray],
    order_of: Callable[[int], Int[Array, " n"]],
    *,
    batch_size: int,
    log_every: int,
    device_budget: float,
    placement: Placement = ONE,
) -> Feed:
    """Return where the steps of an epoch `order_of(epoch)` find the rows of the host.

    `device_budget` is that of each device.

    Raises:
        ConfigError: `device_budget` does not hold what two stretches of steps need.
    """
    if fits(rows, device_budget, placement):
        return _Resident(rows, placement)
    return _Streamed(rows, order_of, batch_size, log_every, device_budget, placement)


def batch(data: PyTree, index: Int[Array, " B"], step: Array, width: int | None) -> PyTree:
    """Return the rows `index` of what a feed gave for `step`; documents `width` slots wide."""
    if not isinstance(data, Window):
        return take(data, index, width)

    def one(leaf: Array) -> Array:
        there = jax.lax.dynamic_index_in_dim(leaf, step - data.first_step, keepdims=False)
        rows = there[: index.size]
        return rows if width is None else rows[:, :width]

    return jax.tree.map(one, data.rows)


class _Resident:
    """All rows, on the devices from the beginning."""

    def __init__(self, rows: PyTree[np.ndarray], placement: Placement) -> None:
        self.rows = place(rows, placement)
        self.where = placement.cut

    def at(self, step: int) -> PyTree:
        return self.rows

    def stop(self, step: int) -> int | None:
        return None

    def prefetch(self, step: int) -> None:
        pass


class _Streamed:
    """The rows of a fixed number of steps at a time, and those of the next beside them.

    Documents are as wide as the longest of them.
    """

    def __init__(
        self,
        rows: PyTree[np.ndarray],
        order_of: Callable[[int], Int[Array, " n"]],
        batch_size: int,
        log_every: int,
        device_budget: float,
        placement: Placement,
    ) -> None:
        num_data = len(jax.tree.leaves(rows)[0])
        self.placement = placement
        self.where = Window(placement.cut_within, placement.copied)
        self.rows, self.order_of, self.batch_size = rows, order_of, batch_size
        self.steps_per_epoch = num_data // batch_size
        of_a_step = sum(map(_bytes_of_a_row, jax.tree.leaves(rows))) * batch_size
        together = device_budget * placement.num_devices
        stretches = int(min(together / 2, WINDOW_BYTES) // (of_a_step * log_every))
        least = min(num_bytes(rows), 2 * of_a_step * log_every)
        least = -(-least // placement.num_devices)
        if not stretches:
            raise ConfigError(
                f"dataset.device_budget={device_budget:.0f} bytes cannot hold the rows of twice "
                f"train.log_every={log_every} steps. Try dataset.device_budget="
                f"{least:.0f}, or a smaller train.log_every."
            )
        self.length = min(stretches * log_every, self.steps_per_epoch)
        self.ready: tuple[int, Window] | None = None

    def at(self, step: int) -> Window:
        if self.ready is None or self.ready[0] != step:
            self.prefetch(step)
        assert self.ready is not None
        return self.ready[1]

    def stop(self, step: int) -> int | None:
        return step + self.length

    def prefetch(self, step: int) -> None:
        epoch, number = divmod(step, self.steps_per_epoch)
        first = number * self.batch_size
        index = np.asarray(self.order_of(epoch))[first : first + self.length * self.batch_size]
        # The last rows again: a window has one shape, and no step looks at what fills it up.
        index = np.resize(index, self.length * self.batch_size)

        def one(leaf: np.ndarray) -> Any:
            visited = leaf[index]
            visited = visited.reshape(self.length, self.batch_size, *visited.shape[1:])
            return self.placement.padded(visited, axis=1)

        window = Window(jax.tree.map(one, self.rows), np.asarray(step, np.int32))
        self.ready = step, self.placement.put(window, self.where)
