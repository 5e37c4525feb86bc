"""Missing entries filled in: against the conditional normal, and from the shell."""

import csv
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from avi.cli import main
from avi.datasets.tables import masked
from avi.errors import ConfigError
from avi.families.gaussian import DiagonalGaussian
from avi.likelihoods.categorical import Categorical
from avi.models.linear_gaussian import LinearGaussian
from avi.models.standardised import standardised
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.population import Points
from avi.run import held_out, impute
from avi.run.requested import draws_of, require_missing
from avi.types import Params, Scale

SIZE, NUMBER = 4, 30
DRAWS = np.random.default_rng(8)
SCALE = Scale(np.array([5.0, -1.0, 0.0, 100.0]), np.array([2.0, 1.0, 0.1, 20.0]))
THETA = {"weight": DRAWS.normal(size=(SIZE, 1)), "mean": DRAWS.normal(size=SIZE),
         "log_scale": np.array([-0.7, 0.0, -1.2, -0.3])}  # fmt: skip
KEY = jax.random.key(3)


def view(row, number, visit):
    return {"mask": row[:, 0], "value": row[:, 1]}


def under(rows):
    """Return rows of one latent under their exact posteriors, which are of the family."""
    model = standardised(LinearGaussian(1, "diagonal", 1e-3), SCALE)
    pairs = masked(np.asarray(rows, np.float32))
    own = [model.model.posterior(THETA, model.standard(view(pair, 0, 0))) for pair in pairs]
    mean, precision = (np.array(part).reshape(-1) for part in zip(*own, strict=True))
    lam = np.stack([mean, -0.5 * np.log(precision)], axis=1)
    problem = SimpleNamespace(model=model, family=DiagonalGaussian(1))
    return impute.Under(problem, Params(THETA, ()), Points(pairs, np.arange(len(pairs))), view, lam)


def normal():
    """Return mean and covariance of x in its own units."""
    covariance = THETA["weight"] @ THETA["weight"].T + np.diag(np.exp(2 * THETA["log_scale"]))
    scaled = SCALE.deviation[:, None] * covariance * SCALE.deviation
    return SCALE.mean + SCALE.deviation * THETA["mean"], scaled


def conditional(row, missing):
    """Return mean and covariance of the missing entries of a row, given the others."""
    mean, covariance = normal()
    across, seen = covariance[np.ix_(missing, ~missing)], covariance[np.ix_(~missing, ~missing)]
    gain = across @ np.linalg.inv(seen)
    left = covariance[np.ix_(missing, missing)] - gain @ across.T
    return mean[missing] + gain @ (row[~missing] - mean[~missing]), left


@pytest.fixture(scope="module")
def rows():
    """Rows with gaps, at least one value seen in each, and what is in the gaps."""
    draws = np.random.default_rng(9)
    truth = draws.multivariate_normal(*normal(), size=NUMBER)
    missing = draws.random(truth.shape) < 0.4
    missing[:, 0] &= ~missing[:, 1:].all(axis=1)
    return truth, missing, under(np.where(missing, np.nan, truth))


def test_means_and_intervals_are_those_of_the_conditional_normal(rows):
    truth, missing, given = rows
    found = impute.predicted(given, KEY)
    errors, ends = [], []
    for place in range(NUMBER):
        gaps = missing[place]
        mean, covariance = conditional(truth[place], gaps)
        deviation = np.sqrt(np.diag(covariance))
        errors.append((found.mean[place, gaps] - mean) / deviation)
        ends.append((found.low[place, gaps] - mean) / deviation - norm.ppf(0.05))
        ends.append((found.high[place, gaps] - mean) / deviation - norm.ppf(0.95))
    # Of the mean of 1000 draws, and of a quantile: sqrt(0.05 0.95 / 1000) / pdf. 5 deviations.
    assert np.abs(np.concatenate(errors)).max() < 5 / np.sqrt(1000)
    assert np.abs(np.concatenate(ends)).max() < 5 * 0.067


def test_the_density_of_hidden_entries_is_the_conditional_one(rows):
    truth, missing, given = rows
    hidden = masked(np.where(missing, truth, np.nan).astype(np.float32))
    expected = [
        multivariate_normal.logpdf(row[gaps], *conditional(row, gaps)) if gaps.any() else 0.0
        for row, gaps in zip(truth, missing, strict=True)
    ]
    found = impute.log_density(given, KEY, hidden)
    # Few of 1000 draws count where hidden entries know z far better than the others do.
    errors = np.abs(found - expected)
    assert np.median(errors) < 0.05
    assert errors.max() < 0.5


def test_completed_rows_keep_what_was_seen_and_vary_where_nothing_was(rows):
    truth, missing, given = rows
    keys = jax.random.split(KEY, (NUMBER, 400))
    z = draws_of(given.problem, given.params, given.lam, keys)
    found = impute.completed(given, z, keys)
    assert found.shape == (NUMBER, 400, SIZE)
    for place in range(NUMBER):
        gaps = missing[place]
        assert np.all(found[place][:, ~gaps] == given.value[place, ~gaps])
        if gaps.sum() > 1:  # they vary together, as two draws of one x do
            _, covariance = conditional(truth[place], gaps)
            scale = np.sqrt(np.diag(covariance))
            close = (np.cov(found[place][:, gaps].T) - covariance) / np.outer(scale, scale)
            assert np.abs(close).max() < 5 * np.sqrt(2 / 400)


def test_hidden_entries_were_seen_and_depend_on_the_row_alone(rows):
    points = rows[2].points
    left, hidden = held_out.hide(points, 0.3, KEY)
    seen = points.rows[..., 0]
    np.testing.assert_array_equal(left.rows[..., 0] + hidden[..., 0], seen)
    np.testing.assert_array_equal(left.rows + hidden, points.rows)
    assert 0.15 < hidden[..., 0].sum() / seen.sum() < 0.45
    some = Points(points.rows[5:9], points.ids[5:9])
    np.testing.assert_array_equal(held_out.hide(some, 0.3, KEY)[1], hidden[5:9])


def test_codes_without_an_order_have_no_mean():
    data = SimpleNamespace(masks=True)
    model = VAE(1, MLP((), "tanh", 1.0), Categorical(3))
    with pytest.raises(ConfigError, match=r"impute=true: the codes of Categorical"):
        require_missing(model, data, "impute=true")


@pytest.fixture(scope="module")
def inferred(tmp_path_factory):
    """Train on half of the rows of a file with gaps and infer from another; return the folder."""
    folder = tmp_path_factory.mktemp("gaps")
    draws = np.random.default_rng(10)
    truth = draws.multivariate_normal(*normal(), size=200)
    text = [[f"{value:.12g}" if seen else "" for value, seen in zip(row, own, strict=True)]
            for row, own in zip(truth, draws.random(truth.shape) < 0.8, strict=True)]  # fmt: skip
    for name, part in (("old", text[:150]), ("new", text[150:])):
        lines = [["a", "b", "c", "d"], *part]
        (folder / f"{name}.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    words = (
        "train dataset=file dataset.path=old.csv dataset.missing=mask model=linear_gaussian "
        "model.latent_size=1 model.noise=diagonal inference=amortized train.epochs=40 "
        "train.batch_size=30 train.report=false gap.num_points=0 output=run"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.run(words.split()) == 0
        words = "infer run=run data=new.csv out=there certify=false draws=3"
        assert main.run([*words.split(), "impute=true", "hold_out=0.2"]) == 0
    return folder / "there", text[150:], truth[150:]


def read(path):
    with path.open() as file:
        return list(csv.reader(file))


def test_the_tables_have_a_line_for_every_gap_and_none_left(inferred):
    there, text, truth = inferred
    gaps = [tuple(place) for place in np.argwhere(np.array(text) == "").tolist()]
    head, *lines = read(there / "imputed.csv")
    assert head == ["row", "column", "mean", "low", "high"]
    assert [(int(row), "abcd".index(column)) for row, column, *_ in lines] == gaps
    assert all(float(low) < float(mean) < float(high) for *_, mean, low, high in lines)
    head, *filled = read(there / "filled.csv")
    assert head == ["row", "a", "b", "c", "d"]
    for (_, *line), own in zip(filled, text, strict=True):
        assert [float(one) for one, seen in zip(line, own, strict=True) if seen] == [
            float(seen) for seen in own if seen
        ]
    error = np.array([float(filled[row][1 + place]) - truth[row, place] for row, place in gaps])
    guess = np.array([SCALE.deviation[place] for _, place in gaps])
    assert np.sqrt(np.mean((error / guess) ** 2)) < 1.0
    with np.load(there / "draws.npz") as file:
        assert file["imputed"].shape == (50, 3, 4)
        assert np.isfinite(file["imputed"]).all()


def test_hidden_entries_are_guessed_better_than_by_the_mean_of_their_column(inferred):
    head, *lines = read(inferred[0] / "held_out.csv")
    assert head == ["column", *held_out.OF_COLUMN]
    entries, rmse, of_means, inside = np.array([line[1:] for line in lines], float).T
    assert 20 < entries.sum() < 60
    assert (rmse < of_means).sum() >= 3
    # Deviations of columns, whose means are those of training: a factor of 2 is 4 deviations off.
    covariance = np.diag(normal()[1])
    assert np.all((0.5 < of_means / covariance**0.5) & (of_means / covariance**0.5 < 2))
    assert inside @ entries / entries.sum() > 0.75  # of 0.9: 1 in 1000 by chance with 35 entries
