"""Several devices take the steps of one: on four virtual ones, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine.test_step import MODES

from avi.engine import placement
from avi.errors import ConfigError
from avi.settings import MeshSettings

TESTS = Path(__file__).resolve().parents[1]
FOUR = "--xla_force_host_platform_device_count=4"


@pytest.fixture(scope="module")
def found():
    """Return what on_devices.py prints."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    flags = f"{os.environ.get('XLA_FLAGS', '')} {FOUR}"
    done = subprocess.run(
        [sys.executable, str(TESTS / "engine" / "on_devices.py")],
        env=os.environ | {"PYTHONPATH": path, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "case",
    [*MODES, "iterative", "hypernetwork", "cavi", "free_form, streamed", "documents"],
)
def test_several_devices_train_what_one_trains(found, case):
    # 200 steps of 10 of 41 rows (cavi: all), neither of which divides by four; free_form and
    # amortized go on from a checkpoint on two. In double precision nothing but sums in another
    # order is left: a row or a device counted twice would be seen at 1e-2.
    assert found[case] < 1e-10


def test_each_device_has_its_part_of_table_optimiser_and_data(found):
    assert found["parts"] == [11, 11, 11]  # of 41, filled up to 44


def test_devices_exchange_rows_of_the_batch_and_never_the_table(found):
    assert found["communicated"] <= 12  # of 4001: the batch of 10, filled up


def test_bounds_and_lams_of_rows_are_the_same_to_the_bit_on_any_number_of_devices(found):
    assert found["bits"] == 0


def test_more_devices_than_there_are_are_refused_with_what_to_type():
    with pytest.raises(ConfigError, match=r"mesh\.devices=99: jax sees 1 here.*mesh\.devices=1"):
        placement.require(MeshSettings(99))
    placement.require(MeshSettings(None))
    with pytest.raises(ValueError, match="1 or more, or null"):
        MeshSettings(0)
