"""A tracker may refuse a run, and ends none."""

import pytest

from avi.errors import ConfigError
from avi.run.trackers import maker, tracking


@pytest.fixture(autouse=True)
def _trusted(monkeypatch):
    monkeypatch.setenv("AVI_PLUGINS", "plugins")


def test_no_tracker_sees_nothing(tmp_path):
    assert maker(None) is None
    with tracking(None, tmp_path) as log:
        assert log("line") is None


def test_a_tracker_that_fails_is_told_of_once_and_left(tmp_path, capsys):
    with tracking("plugins.trackers.failing", tmp_path) as log:
        for line in range(4):
            log(line)
    assert capsys.readouterr().out.splitlines() == [
        "train.log: the tracker has failed: OSError: nobody answers. The run goes on without it."
    ]


def test_what_ends_a_run_is_what_ended_it(tmp_path):
    def run():
        with tracking("plugins.trackers.failing", tmp_path):
            raise KeyError("of the run")

    with pytest.raises(KeyError, match="of the run"):
        run()


def test_a_tracker_that_cannot_begin_refuses_the_run(tmp_path):
    with (
        pytest.raises(ConfigError, match=r"ConnectionError: no server at all. Try avi train"),
        tracking("plugins.trackers.absent", tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tensorbord", "Did you mean tensorboard?"),
        ("wandb", "expected tensorboard, or package.module.function"),
        ("wandb.init", "Try AVI_PLUGINS=wandb before"),
        ("plugins.trackers.keepin", "Did you mean keeping?"),
        ("plugins.nothing.log", "there is no module plugins.nothing"),
    ],
)
def test_a_tracker_is_a_name_that_is_known_or_trusted(name, sentence):
    with pytest.raises(ConfigError, match=sentence.replace("?", r"\?")):
        maker(name)
