"""An experiment and its data together: what a run starts from, and what is refused."""

import numpy as np
import pytest

from avi.config.compose import compose
from avi.errors import ConfigError
from avi.run.session import _require_rows, open_session, seen_from
from avi.rundir import RunDir, checkpoints


def test_a_gap_report_on_a_split_without_rows_is_refused():
    session = open_session(compose(["gap.splits=[valid,test]"])[0].tree)
    _require_rows(session)
    splits = session.splits
    empty = session._replace(splits=splits._replace(valid=splits.valid[:0]))
    with pytest.raises(ConfigError, match=r"valid split .* empty\. Try gap\.splits=\[train,test\]"):
        _require_rows(empty)


@pytest.mark.parametrize("other", ["inference.network.widths=[4]", "inference=free_form"])
def test_a_run_starts_from_the_theta_of_another_and_a_phi_of_its_own(other, avi, workplace):
    short = ("train", "train.epochs=1", "train.eval_points=0", "gap.num_points=0")
    first = avi(*short, "inference.network.widths=[5]", "output=first")
    assert first.returncode == 0, first.stderr
    second = avi(*short, other, "train.start=first", "train.freeze=theta", "output=second")
    assert second.returncode == 0, second.stderr
    before, after = (
        checkpoints.load(RunDir.open(workplace / name)).arrays for name in ("first", "second")
    )
    theta = [name for name in before if name.startswith(".params.theta")]
    assert theta
    assert all(np.array_equal(before[name], after[name]) for name in theta)

    def shapes(arrays):
        return {name: leaf.shape for name, leaf in arrays.items() if ".params.phi" in name}

    assert shapes(before) != shapes(after)


class Begun:
    """A run that was begun in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def read_run(self):
        return {"directory": str(self.folder)}


def test_paths_of_a_run_are_also_sought_where_it_was_begun(tmp_path, monkeypatch):
    begun, here = tmp_path / "begun", tmp_path / "here"
    for folder in (begun, here, begun / "first"):
        folder.mkdir()
    (begun / "rows.csv").touch()
    for folder in (begun, here):
        (folder / "words.txt").touch()
    monkeypatch.chdir(here)
    tree = {
        "dataset": {"path": "rows.csv", "vocabulary": "words.txt"},
        "train": {"start": "first", "weights": None, "weights_map": "pytorch_vae"},
        "gap": {"rows": "0:10"},
    }
    seen = seen_from(Begun(begun), tree)
    assert seen["dataset"] == {"path": str(begun / "rows.csv"), "vocabulary": "words.txt"}
    assert seen["train"] == {**tree["train"], "start": str(begun / "first")}
    assert seen["gap"] == tree["gap"]
    assert seen_from(Begun(here), tree) is tree
