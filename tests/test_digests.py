"""What scripts/digests calls a difference."""

import importlib.machinery
import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def load():
    """Return scripts/digests as a module."""
    loader = importlib.machinery.SourceFileLoader("digests", str(ROOT / "scripts" / "digests"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("digests", loader))
    loader.exec_module(module)
    return module


DIGESTS = load()


def written(run, points, seconds):
    """Leave the files of a run and return their digests."""
    files = {
        "metrics.jsonl": '{"step": 1}\n',
        "checkpoints/00000001/state.safetensors": "state",
        "gap/points.csv": points,
        "gap/summary.json": f'{{"n": [1, {{"milliseconds": {seconds}}}], "seconds": {seconds}}}',
    }
    for name, text in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    return {"run": dict(DIGESTS.parts(run))}


def test_times_and_new_columns_are_no_difference(tmp_path):
    before = written(tmp_path, "row,bound\n1,2.5\n", 3.0)
    after = written(tmp_path, "row,gap,bound\n1,0.5,2.5\n", 4.0)
    assert DIGESTS.differences(before, after) == []


def test_each_changed_or_missing_column_is_a_line(tmp_path):
    before = written(tmp_path, "row,bound,gap\n1,2.5,0.5\n", 3.0)
    after = written(tmp_path, "row,bound\n1,2.25\n", 3.0)
    assert DIGESTS.differences(before, after) == [
        "run  gap/points.csv bound  differs",
        "run  gap/points.csv gap  is missing",
    ]


def test_a_missing_run_is_a_difference_in_everything_it_had(tmp_path):
    before = written(tmp_path, "row\n1\n", 3.0)
    assert len(DIGESTS.differences(before, {})) == len(before["run"])
