"""Where arrays live: on one device, or by rows on several that share the work of a step.

Parameters are copied to every device. What has a row for each datapoint is cut into equal parts:
the rows of a batch, the training rows, the table of a mode with rows and its optimiser's state. A
step is written for all rows; XLA gives each device its part and adds up what they find.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from avi.engine import devices
from avi.errors import ConfigError
from avi.settings import MeshSettings

ROWS = "rows"  # the axis of the mesh


@dataclass(frozen=True)
class Placement:
    """The devices that share the rows; without a mesh the one device, and nothing is moved."""

    mesh: Mesh | None = None

    @property
    def num_devices(self) -> int:
        """How many share the rows."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def copied(self) -> Any:
        """Where all devices have the whole array."""
        return self._sharding()

    @property
    def cut(self) -> Any:
        """Where each device has its part of the leading axis."""
        return self._sharding(ROWS)

    @property
    def cut_within(self) -> Any:
        """Where each device has its part of the second axis: rows of consecutive steps."""
        return self._sharding(None, ROWS)

    def _sharding(self, *axes: str | None) -> Any:
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(*axes))

    def put(self, tree: PyTree, where: Any) -> PyTree:
        """Return host or device arrays there; `where` may be a prefix of the tree."""
        return jax.device_put(tree) if self.mesh is None else jax.device_put(tree, where)

    def kept(self, tree: PyTree, where: Any) -> PyTree:
        """Return the values of a compiled function, told to be there; any number of rows."""
        return tree if self.mesh is None else jax.lax.with_sharding_constraint(tree, where)

    def options(self, arguments: PyTree, results: PyTree) -> dict[str, Any]:
        """Return what `jax.jit` is told of a function with its arrays there."""
        return {} if self.mesh is None else {"in_shardings": arguments, "out_shardings": results}

    def each(self, function: Callable[[int, Any], Any], number: int) -> list[Any]:
        """Return `function` of 0..number-1, each call with a device that is its own meanwhile.

        Without a mesh the device is None, the usual one. With one the calls are made side by side.
        """
        if self.mesh is None:
            return [function(place, None) for place in range(number)]
        devices, double = self.mesh.devices.ravel(), jax.config.read("jax_enable_x64")

        def of_device(first: int) -> list[Any]:
            with jax.enable_x64(double):  # each thread has a precision of its own
                return [
                    function(place, devices[first]) for place in range(first, number, len(devices))
                ]

        with ThreadPoolExecutor(len(devices)) as pool:
            of_each = list(pool.map(of_device, range(len(devices))))
        return [of_each[place % len(devices)][place // len(devices)] for place in range(number)]

    def padded(self, tree: PyTree, axis: int = 0) -> PyTree:
        """Return rows, or their shapes, with the last repeated until all devices have as many."""

        def one(leaf: Any) -> Any:
            missing = -leaf.shape[axis] % self.num_devices
            if not missing:
                return leaf
            if isinstance(leaf, jax.ShapeDtypeStruct):
                shape = list(leaf.shape)
                shape[axis] += missing
                return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)
            widths = [(0, missing if place == axis else 0) for place in range(leaf.ndim)]
            return np.pad(leaf, widths, mode="edge")

        return jax.tree.map(one, tree)


ONE = Placement()
_chosen = ONE


def choose(settings: MeshSettings) -> None:
    """Let this process compute on as many devices as are asked for and there."""
    global _chosen
    there = jax.devices()[: settings.devices]
    _chosen = Placement(Mesh(np.array(there), (ROWS,))) if len(there) > 1 else ONE


def chosen() -> Placement:
    """Return what `choose` has chosen; one device before it is asked."""
    return _chosen


def description() -> str:
    """Return what trains, in words: the device, and how many where several share the rows.

    How many do decides the last bits of sums over a batch.
    """
    number = _chosen.num_devices
    return f"{devices.description()}, {number} devices" if number > 1 else devices.description()


def require(settings: MeshSettings) -> None:
    """Refuse to train on fewer devices than were asked for: last bits and speed are others.

    Raises:
        ConfigError: says how many there are.
    """
    there = len(jax.devices())
    if settings.devices is not None and settings.devices > there:
        one = jax.devices()[0].platform == "cpu"
        why = " All cores of a CPU are one device." if one else ""
        raise ConfigError(
            f"mesh.devices={settings.devices}: jax sees {there} here.{why} "
            f"Try mesh.devices={there}."
        )
