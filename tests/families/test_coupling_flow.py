"""A family without closed forms, from outside the repository, through the command line."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plugins.coupling import CouplingFlow

from avi.cli import main as cli

FLOW_YAML = """# A coupling flow
_target_: plugins.coupling.CouplingFlow
latent_size: ${model.latent_size}
"""
WORDS = [
    "model=poisson_lognormal",
    "family=coupling",
    "dataset=poisson_lognormal",
    "dataset.num_train=40",
    "dataset.num_valid=10",
    "dataset.num_test=10",
    "evidence=ais",
    "evidence.num_temperatures=20",
    "inference.network.widths=[8]",
    "train.epochs=2",
    "train.batch_size=20",
    "train.report=false",
    "gap.num_points=5",
    "gap.num_draws=200",
    "gap.width=10",
    "gap.budget=10000",
    "gap.audit=0.4",
    "gap.seconds=null",
]


def run(*words):
    """Return the exit code of `avi <words>`, in this process."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    return ended.value.code


@pytest.fixture
def trained(workplace, monkeypatch):
    """Return the folders of two runs, by the name of their objective."""
    monkeypatch.setenv("AVI_PLUGINS", "plugins")
    (workplace / "conf" / "family").mkdir(parents=True)
    (workplace / "conf" / "family" / "coupling.yaml").write_text(FLOW_YAML)
    folders = {name: workplace / name for name in ("elbo", "pathwise")}
    for name, folder in folders.items():
        chosen = [f"objective={name}", f"output={folder}"]
        assert run("train", "-cd", "conf", *WORDS, *chosen) == 0
    return folders


def test_a_flow_trains_reports_its_gap_and_is_scored_by_draws(trained):
    # The closed form of the model is that of Gaussians: both words are the pathwise estimator.
    contents = [(folder / "metrics.jsonl").read_text() for folder in trained.values()]
    assert contents[0] == contents[1]
    for folder in trained.values():
        assert json.loads((folder / "run.json").read_text())["status"] == "done"
        summary = json.loads((folder / "gap" / "summary.json").read_text())
        assert summary["bound"] == "ELBO"
        with open(folder / "gap" / "points.csv", encoding="utf-8") as file:
            points = list(csv.DictReader(file))
        assert len(points) == 10
        assert {point["evidence_kind"] for point in points} == {"lower"}
        assert all(float(point["bound_star_se"]) > 0 for point in points)  # scored by draws
        for split in summary["splits"].values():
            gap = split["approximation_gap"]
            assert gap["mean"] > -4.75 * gap["se"]  # the evidence is above the best ELBO


def test_its_density_is_that_of_its_draws():
    family = CouplingFlow(3)
    with jax.enable_x64(True):
        lam = jax.random.normal(jax.random.key(0), (family.num_params,))
        eps = jax.random.normal(jax.random.key(1), (3,))
        jacobian = jax.jacobian(lambda eps: family.transport(lam, eps))(eps)
        expected = jax.scipy.stats.norm.logpdf(eps).sum() - jnp.linalg.slogdet(jacobian)[1]
        found = family.log_prob(lam, family.transport(lam, eps))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
