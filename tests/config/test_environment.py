"""What has to be set where a run of one's own components is built again."""

from avi.config.environment import environment

TREE = {
    "model": {"_target_": "mine.models.Own", "likelihood": {"_target_": "avi.likelihoods.x.Y"}},
    "optimizer": {"phi": [{"_target_": "others.Fast"}]},
    "dataset": {"path": "rows.csv", "function": "theirs.rows.made"},
}


def test_the_packages_that_a_tree_names_are_found_and_no_others(monkeypatch):
    monkeypatch.setenv("AVI_PLUGINS", "mine,theirs,unused")
    monkeypatch.setenv("PYTHONPATH", ".")
    monkeypatch.setenv("AVI_CONFIG_PATH", "conf")
    assert environment(TREE) == {
        "AVI_PLUGINS": "mine,theirs",
        "PYTHONPATH": ".",
        "AVI_CONFIG_PATH": "conf",
    }


def test_a_tree_of_avis_own_components_needs_nothing(monkeypatch):
    monkeypatch.setenv("AVI_PLUGINS", "mine")
    monkeypatch.setenv("PYTHONPATH", ".")
    monkeypatch.delenv("AVI_CONFIG_PATH", raising=False)
    assert environment({"model": {"_target_": "avi.models.vae.VAE"}, "seed": 0}) == {}
