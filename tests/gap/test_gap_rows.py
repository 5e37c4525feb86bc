"""Rows that a person names are the rows of the report."""

import dataclasses

import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, make_case

from avi import gap
from avi.errors import ConfigError
from avi.families.gaussian import DiagonalGaussian
from avi.population import named, sizes_of
from avi.results import gap as summaries
from avi.results import points
from avi.results.store import Files
from avi.types import Origin

NAMED = dataclasses.replace(SETTINGS, num_points=1, num_draws=100, rows="rows.txt", budget=3000)
WANTED = [3, 8, 70, 71, 114, 20, 31]


@pytest.fixture(scope="module")
def case():
    """A case whose rows stand in another order in the user's file."""
    made = make_case(DiagonalGaussian(LATENT))
    order = np.random.default_rng(0).permutation(sum(sizes_of(made.splits).values())) + 1
    return made._replace(splits=made.splits._replace(origin=Origin(order)))


def of_user(case, row):
    """Return x of one of the user's rows, by its id alone."""
    stored = [np.asarray(getattr(case.splits, split)) for split in ("train", "valid", "test")]
    return np.concatenate(stored)[case.splits.origin.id_of(row)].astype(np.float64)


def test_a_report_is_of_the_rows_that_are_named(case, tmp_path, monkeypatch):
    """Whichever splits they are in; log p(x), in closed form, tells whether each is its own x."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.txt").write_text("3, 8\n70 71\n114\n20 31\n")
    summary = gap.report(case.experiment, case.params, case.splits, settings=NAMED, run=tmp_path)
    found = points.read(Files(tmp_path))
    assert sorted(row.row for row in found) == sorted(WANTED)
    theta = {name: np.asarray(leaf, np.float64) for name, leaf in case.params.theta.items()}
    covariance = theta["weight"] @ theta["weight"].T + np.diag(np.exp(2 * theta["log_scale"]))
    for row in found:
        x = of_user(case, row.row)
        quadratic = x @ np.linalg.solve(covariance, x) + np.linalg.slogdet(covariance)[1]
        exact = -0.5 * (quadratic + len(x) * np.log(2 * np.pi))
        np.testing.assert_allclose(row.evidence, exact, rtol=1e-5)
    assert summaries.read(Files(tmp_path)).rows == "rows.txt"
    assert sum(one.n for one in summary.splits.values()) == len(WANTED)
    # They were not drawn: no rows are left of which they would be a sample.
    assert all(one.n == one.size for one in summary.splits.values())
    assert summary.generalisation_gap is None


def test_a_range_and_a_single_row_are_the_users_own(case):
    order = case.splits.origin.rows

    def rows(given):
        found = named(case.splits, given)
        return {split: set(order[one.ids].tolist()) for split, one in found.items()}

    assert set.union(*rows("10:40").values()) == set(range(10, 40))
    assert rows(order[62]) == {"valid": {order[62]}}
    first = named(case.splits, "10:40")["test"]
    expected = [of_user(case, row) for row in order[first.ids]]
    np.testing.assert_array_equal(np.asarray(first.rows, np.float64), expected)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("100:300", "no row 116 among these data, whose rows are 1 to 115; 184 of 200"),
        (0, "no row 0 among"),
        ("5:5", "names no row"),
        ("twice.txt", "one twice"),
        ("words.txt", "expected a range such as 0:1000, or a file"),
        ("nowhere.txt", "expected a range"),
        ("-3:5", "expected a range"),
        ("0:99999999999999999", "10000000 rows at most"),
    ],
)
def test_rows_that_are_none_are_refused(rows, sentence, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice.txt").write_text("4 5 4")
    (tmp_path / "words.txt").write_text("four")
    with pytest.raises(ConfigError, match=sentence):
        named(case.splits, rows)


def test_rows_are_named_or_drawn():
    with pytest.raises(ValueError, match="Try gap.half_width=null"):
        dataclasses.replace(SETTINGS, rows="0:3", half_width=0.1)
