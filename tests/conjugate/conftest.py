"""Everything here is in float64: the identities hold to its last digits."""

import os
from pathlib import Path

import jax
import pytest

SIBLING = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def articles(monkeypatch):
    """Make the Associated Press corpus available, or skip the test."""
    folder = Path(os.environ.get("AVI_DATA_DIR", SIBLING))
    if not (folder / "ap" / "ap.tgz").is_file():
        pytest.skip("ap/ap.tgz is not in AVI_DATA_DIR, nor in a sibling folder shared/data")
    monkeypatch.setenv("AVI_DATA_DIR", str(folder))
