"""What several test modules need: a folder of one's own, and `avi` as a shell would call it."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
gc.set_threshold(50_000, 20, 20)  # tracing makes millions of objects, and few of them are cycles


def pytest_collection_modifyitems(items):
    """Begin with what is slow: what is left for two workers to share in the end is quick."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Work in an empty folder, with runs going to a folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVI_OUTPUT_DIR", str(tmp_path / "outputs"))
    return tmp_path


@pytest.fixture
def avi(workplace):
    """Run `avi <words>` in a process of its own; returns what subprocess.run does."""

    def run(*words, timeout=300, folder=".", **environment):
        return subprocess.run(
            [sys.executable, "-m", "avi", *words],
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | environment,
            cwd=workplace / folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(autouse=True, scope="module")
def precision():
    """Begin every module in single precision, whatever the one before it left behind."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", False)
