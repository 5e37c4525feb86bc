"""Where the public data sets are, if they are: nothing here touches the network."""

import os
from pathlib import Path

import pytest

SIBLING = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Give every test an empty cache and no data folder."""
    monkeypatch.setenv("AVI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("AVI_DATA_DIR", raising=False)


DATA = Path(os.environ.get("AVI_DATA_DIR", SIBLING))


@pytest.fixture
def public(monkeypatch):
    """Return a function that gives the path of a public file, or skips the test."""

    def path_of(name: str) -> Path:
        path = DATA / name
        if not path.is_file():
            pytest.skip(f"{name} is not in AVI_DATA_DIR, nor in a sibling folder shared/data")
        monkeypatch.setenv("AVI_DATA_DIR", str(DATA))
        return path

    return path_of
