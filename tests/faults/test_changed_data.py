"""Data that change under a run are refused: its numbers would be of other rows."""

import json

import numpy as np
from faults.processes import GAP, MODES, TINY, avi

from avi.errors import DataError
from avi.rundir import RunDir

WORDS = ["dataset=file", "dataset.path=rows.npy", "train.batch_size=20", "train.epochs=1"]


def test_a_run_is_not_carried_on_with_other_rows(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    train = ["train", "output=run", *TINY, *WORDS, *MODES["amortized"]]
    begun = avi(train, tmp_path)
    assert begun.process.exitcode == 0, begun.output
    kept = RunDir.open(tmp_path / "run").read_run()["data_sha256"]

    rows[7, 0] += 1e-6
    np.save(tmp_path / "rows.npy", rows)
    infer = ["infer", "run=run", "split=valid"]
    for words in (["train", "resume=run", "train.epochs=2"], GAP, infer):
        refused = avi(words, tmp_path)
        assert refused.process.exitcode == DataError.exit_code, refused.output
        last = refused.output.splitlines()[-1]
        assert kept[:12] in last
        assert "Put the data back" in last
    assert not (tmp_path / "run" / "gap" / "parts").exists()

    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    del facts["data_sha256"]  # a run of an older version
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    accepted = avi(infer, tmp_path)
    assert accepted.process.exitcode == 0, accepted.output
