"""Posteriors of rows that a person brings: those of the run's own rows with the same values."""

import numpy as np
import pytest

from avi.config.compose import compose
from avi.errors import DataError, NonFiniteError
from avi.randomness import key_for
from avi.run.posterior import _name, _require_finite, of_file
from avi.run.session import open_session


@pytest.fixture
def grey(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (40, 6), np.uint8)
    np.savez(tmp_path / "train.npz", other=rows[:1], mine=rows)
    words = (
        f"dataset=file dataset.path={tmp_path}/train.npz dataset.array=mine dataset.shuffle=false "
        "dataset.support=unit dataset.white=255 likelihood=continuous_bernoulli model=vae "
        "train.batch_size=8"
    )
    return open_session(compose(words.split())[0].tree), rows


def test_a_file_in_the_form_of_the_runs_own_has_the_posteriors_of_its_rows(grey, tmp_path):
    session, rows = grey
    np.savez(tmp_path / "new.npz", mine=rows[-4:], other=rows[:1])
    evaluator, brought, name, _ = of_file(session, tmp_path / "new.npz", None)
    params, key = session.initial_state().params, key_for(0, "infer")
    expected = session.evaluator(1).lams(params, session.points("test"), key)
    found = evaluator.lams(params, brought, key)
    assert name == "new"
    np.testing.assert_array_equal(found, expected[-4:])


def test_a_bound_that_is_not_finite_is_no_success_and_its_row_is_named(tmp_path):
    rows, table = np.array([4, 7, 9]), tmp_path / "posterior.csv"
    _require_finite(np.zeros(3), rows, table)
    with pytest.raises(NonFiniteError, match=r"of 1 of 3 rows .* \(row 7\)"):
        _require_finite(np.array([0.0, -np.inf, 0.0]), rows, table)


def test_rows_of_another_width_are_refused(grey, tmp_path):
    np.savez(tmp_path / "new.npz", mine=grey[1][:, :5])
    with pytest.raises(DataError, match="expected rows of 6 numbers, as in training; found 5"):
        of_file(grey[0], tmp_path / "new.npz", None)


def test_a_file_never_takes_the_folder_of_a_split(tmp_path):
    assert _name(tmp_path / "test.csv") == "file-test"
    assert _name(tmp_path / "mine.csv") == "mine"
