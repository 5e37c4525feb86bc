"""Bounds, posteriors and decoded means are in the units of the person's own file."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import avi
from avi.config.compose import compose
from avi.engine.step import make_step
from avi.randomness import key_for
from avi.run.remarks import understood
from avi.run.session import open_session

RANDOM = np.random.default_rng(7)
ROWS = RANDOM.standard_normal((60, 2)) @ RANDOM.standard_normal((2, 4)) + 0.3 * (
    RANDOM.standard_normal((60, 4))
)
SLOPE, OFFSET = np.array([1e3, 0.01, 2.0, 1.0]), np.array([3e3, 0.1, -5.0, 0.0])
VAE = "model=vae model.latent_size=2 model.decoder.widths=[5] inference.network.widths=[5]".split()
WORDS = {
    "linear": ["model=linear_gaussian", "inference.network.widths=[]"],
    "vae": VAE,
}


def session_of(words, rows, folder):
    path = folder / "rows.csv"
    np.savetxt(path, rows, "%.17g", ",")
    own = [f"dataset.path={path}", "train.batch_size=null", "gap.num_points=0"]
    return open_session(compose(["dataset=file", *own, *words])[0].tree)


def bounds_of(session):
    """Return the mean bound of the training rows before each of three steps."""
    state = session.initial_state()
    problem, dataset = session.experiment.problem, session.experiment.dataset
    step = jax.jit(make_step(problem, session.optimizers, dataset.view, session.spec.num_data))
    rows, values = jnp.asarray(session.splits.train, float), []
    for _ in range(3):
        state, metrics = step(state, rows, jnp.arange(len(rows)), key_for(0, "train"))
        values.append(metrics.value)
    return np.array(values)


@pytest.mark.parametrize("name", WORDS)
def test_a_change_of_units_moves_every_bound_by_its_log_jacobian_alone(name, tmp_path):
    before = bounds_of(session_of(WORDS[name], ROWS, tmp_path))
    after = bounds_of(session_of(WORDS[name], OFFSET + SLOPE * ROWS, tmp_path))
    assert np.isfinite(before).all()
    assert len(set(before)) == 3
    # x - m is known to 1e-7 of m, here to 3e-7 of a deviation.
    np.testing.assert_allclose(after, before - np.log(SLOPE).sum(), atol=1e-4)


def test_raw_columns_and_models_with_units_of_their_own_are_left_as_they_are(tmp_path):
    raw = session_of([*WORDS["linear"], "dataset.standardize=none"], ROWS, tmp_path)
    assert raw.splits.scale is None
    assert "standardised" not in " ".join(understood(raw)).lower()
    own = session_of(["model=state_space", "model.latent_size=4"], ROWS, tmp_path)
    assert type(own.experiment.problem.model).__module__ == "avi.models.state_space"
    assert understood(own)[-1] == "Not standardised: StateSpace is in the units of the file."


def test_a_run_says_and_keeps_how_it_read_a_file_and_reads_others_alike(workplace):
    """Names, labels and an id beside x; new rows in another order and dress have the same q."""
    raw = OFFSET + SLOPE * ROWS
    head = ["id", "a", "b", "c", "d", "kind"]
    lines = [[str(k + 1), *map(repr, row.tolist()), "uv"[k % 2]] for k, row in enumerate(raw)]

    def write(name, order, mark=",", decimal="."):
        cells = [[line[k] for k in order] for line in [head, *lines]]
        text = "\n".join(mark.join(line).replace(".", decimal) for line in cells)
        (workplace / name).write_text(text)

    write("rows.csv", range(6))
    write("new.tsv", [5, 4, 3, 2, 1], "\t", ",")
    words = ["dataset=file", "dataset.path=rows.csv", "dataset.label=kind", "dataset.index=id"]
    short = ["train.epochs=2", "train.batch_size=null", "gap.num_points=0", "output=run"]
    run = avi.train([*words, *WORDS["linear"], *short])
    said = json.loads((workplace / "run/run.json").read_text())["understood"]
    assert said == [
        "rows.csv: 60 rows of 4 numbers; split by commas, header.",
        "Labels: kind (2); row names: id.",
        "Columns are standardised; bounds in your units (dataset.standardize=none: raw).",
    ]
    assert max(map(len, said)) <= 80
    # Every mean of x is near the data, in their units, whatever z.
    assert np.abs((run.decode(np.zeros(3)) - raw.mean(0)) / raw.std(0)).max() < 1
    drawn = run.sample(2000).x
    assert np.abs((drawn.mean(0) - raw.mean(0)) / raw.std(0)).max() < 1
    snapshot = run.record.snapshot
    assert np.abs((snapshot.inputs - raw.mean(0)) / raw.std(0)).max() < 5
    assert set(snapshot.labels.tolist()) == {0, 1}
    assert set(snapshot.named_labels.tolist()) == {"u", "v"}
    own = avi.infer(run, "split=train", "out=own", "certify=false")
    (workplace / "rows.csv").unlink()
    new = avi.infer(run, "data=new.tsv", "out=new", "certify=false")
    np.testing.assert_allclose(new.mean[own.row], own.mean, rtol=1e-5, atol=1e-6)
    table = (workplace / "own/posterior.csv").read_text().splitlines()
    assert table[0].startswith("name,row,")
    assert all(int(line.split(",")[0]) == int(line.split(",")[1]) + 1 for line in table[1:])
