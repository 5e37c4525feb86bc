"""`avi gap against=` by the name of a data set: whose rows, and what is refused."""

import numpy as np
import pytest

from avi.cli.gap import _against
from avi.config.compose import compose
from avi.errors import ConfigError, DataError
from avi.run.against import Named, read_others
from avi.run.session import open_session

WORDS = "model=linear_gaussian dataset=linear_gaussian gap.num_points=7"


@pytest.fixture(scope="module")
def tree():
    return compose(WORDS.split())[0].tree


@pytest.fixture(scope="module")
def session(tree):
    return open_session(tree)


def named(tree, name):
    found = _against({"against": name}, tree)
    assert isinstance(found, Named)
    return found


def test_the_rows_are_test_rows_of_that_data_set_by_their_own_numbers(tree, session, workplace):
    other = read_others(session, named(tree, "poisson_lognormal"))
    splits = open_session(
        compose("model=poisson_lognormal dataset=poisson_lognormal".split())[0].tree
    ).splits
    stored = np.concatenate([splits.train, splits.valid, splits.test])
    assert len(other.rows) == len(other.points) == 7
    assert other.rows.min() >= len(splits.train) + len(splits.valid)
    np.testing.assert_array_equal(other.points.rows, stored[other.rows])
    assert other.points.ids.min() >= session.spec.num_data  # none has a row in a table


def test_the_runs_own_data_set_is_as_good_as_another(tree, session, workplace):
    other = read_others(session, named(tree, "linear_gaussian"))
    own = np.concatenate([session.splits.train, session.splits.valid, session.splits.test])
    np.testing.assert_array_equal(other.points.rows, own[other.rows])


def test_a_file_of_that_name_comes_first(tree, workplace):
    (workplace / "digits").touch()
    assert _against({"against": "digits"}, tree).name == "digits"
    assert not isinstance(_against({"against": "digits"}, tree), Named)


def test_what_does_not_fit_is_refused_in_a_sentence(tree, session, workplace):
    with pytest.raises(DataError, match=r"rows are of shape 64, those of the run 10"):
        read_others(session, named(tree, "digits"))
    bits = open_session(compose(["gap.num_points=7"])[0].tree)
    with pytest.raises(DataError, match=r"its rows are real, and the likelihood of VAE is a dens"):
        read_others(bits, named(tree, "linear_gaussian"))
    with pytest.raises(ConfigError, match=r"nor a data set of that name.* Did you mean digits\?"):
        _against({"against": "digit"}, tree)
    for form in ("file", "corpus"):
        with pytest.raises(ConfigError, match="a form of files, not a data set"):
            _against({"against": form}, tree)
