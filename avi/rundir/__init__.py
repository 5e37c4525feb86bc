"""A run on disk: its folder, lock, logs and checkpoints. Imports no jax."""

from avi.rundir.files import atomic_write, make_folder
from avi.rundir.folder import RunDir
from avi.rundir.machine import instruction_set, versions
from avi.rundir.names import config_differences, config_digest, new_run_name, sweep_run_name

__all__ = [
    "RunDir",
    "atomic_write",
    "config_differences",
    "config_digest",
    "instruction_set",
    "make_folder",
    "new_run_name",
    "sweep_run_name",
    "versions",
]
