"""What a person should know of a run that its numbers do not say."""

from types import SimpleNamespace

import numpy as np
import pytest

from avi.results import metrics
from avi.results.metrics import MetricsLine
from avi.run.measure import _short
from avi.run.remarks import _even, ending, fallen, of_data, rising
from avi.run.session import Session
from avi.rundir import RunDir
from avi.types import Splits


def session(num_data, batch_size, data="real", scored="real", *, epochs=1, **of_splits):
    model = SimpleNamespace(support=scored, likelihood=None)
    return SimpleNamespace(
        splits=Splits(None, None, None, **of_splits),
        spec=SimpleNamespace(num_data=num_data),
        batch_size=batch_size,
        experiment=SimpleNamespace(
            dataset=SimpleNamespace(support=data),
            problem=SimpleNamespace(model=model),
            train=SimpleNamespace(epochs=epochs, batch_size=batch_size),
        ),
    )


@pytest.mark.parametrize(
    ("data", "scored", "offered"),
    [
        ("count", "real", "likelihood=poisson"),
        ("binary", "real", "likelihood=bernoulli"),
        ("count", "count", None),
        ("unit", "real", None),
        ("real", "real", None),
    ],
)
def test_counts_and_bits_under_a_density_of_real_numbers_are_said(data, scored, offered):
    found = of_data(session(64, 64, data=data, scored=scored))
    assert [offered in one for one in found] == [True] * (offered is not None)


@pytest.mark.parametrize(("num_data", "size", "said"), [(65, 33, True), (640, 64, False)])
def test_rows_that_no_batch_has_are_counted(num_data, size, said):
    found = of_data(session(num_data, size))
    assert [f"{num_data % size} of {num_data} training rows" in words for words in found] == (
        [True] if said else []
    )
    assert of_data(session(num_data, size, epochs=0)) == []  # nobody visits any


@pytest.mark.parametrize("num_data", [3, 65, 67, 457, 1437])
@pytest.mark.parametrize("size", [2, 10, 64])
def test_the_size_that_is_offered_leaves_no_more_than_one_in_a_hundred_out(num_data, size):
    offered = _even(num_data, size)
    assert 1 <= offered <= num_data
    assert num_data % offered <= num_data / 100


@pytest.mark.parametrize(("asked", "size"), [(None, 3), (2, 2), (3, 3), (64, 3)])
def test_a_batch_is_no_larger_than_the_training_set(asked, size):
    found = Session(session(3, asked).experiment, None, session(3, asked).spec)
    assert found.batch_size == size
    words = session(3, size)
    words.experiment.train.batch_size = asked
    said = [line for line in of_data(words) if "the whole training set, 3 rows" in line]
    assert len(said) == (asked == 64)


@pytest.mark.parametrize(("left", "verb"), [(1, "is"), (2, "are")])
def test_a_row_that_is_left_out_is_one(left, verb):
    (words,) = of_data(session(64 + left, 64))
    assert words.startswith(f"{left} of {64 + left} training rows {verb} in no batch")


def test_a_run_that_fell_is_not_told_to_go_on(tmp_path):
    run, batches = RunDir(tmp_path), np.arange(100.0)
    lines = [MetricsLine(n, n, "batches", 0, batches[n], 0.1, 64) for n in range(100)]
    metrics.append(run, lines, 1.0)
    assert ending(run, 30) == rising(run, 30) != []
    fall = [MetricsLine(100 + n, n, "valid", 0, -20.0 - 9 * n, 0.1, 6) for n in range(2)]
    metrics.append(run, fall, 1.0)
    assert ending(run, 30) == fallen(run) != []


def test_words_that_were_left_out_stand_beside_the_bound():
    unseen = {"valid": (0, 50), "test": (12, 48)}
    (words,) = of_data(session(64, 64, unseen=unseen))
    assert words.startswith("12 of 48 words (25 %) of the test documents")


@pytest.mark.parametrize(
    ("slope", "noise", "said"),
    [(0.05, 0.1, True), (0.05, 2.0, False), (0.0, 0.1, False), (-0.05, 0.1, False)],
)
def test_a_bound_that_still_rises_is_said(tmp_path, slope, noise, said):
    run, draws = RunDir(tmp_path), np.random.default_rng(0)
    values = slope * np.arange(100) + noise * draws.standard_normal(100)
    lines = [
        MetricsLine(10 * n, n, "batches", 0, float(value), 0.1, 640)
        for n, value in enumerate(values)
    ]
    metrics.append(run, lines, 1.0)
    found = rising(run, epochs=30)
    assert bool(found) == said
    assert not said or "Try train.epochs=60" in found[0]


@pytest.mark.parametrize(("table", "gap", "said"), [(True, 3, 1), (True, 0.01, 0), (False, 3, 0)])
def test_a_search_for_new_rows_that_ends_short_of_its_top_is_said(table, gap, said):
    one = SimpleNamespace(amortization_gap=SimpleNamespace(mean=gap))
    summary = SimpleNamespace(splits={"train": one, "test": one})
    found = _short(SimpleNamespace(per_datapoint=table), summary)
    assert len(found) == said
    assert not said or "The test rows" in found[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [([-30, -25.7, -36.4], True), ([-30, -25.7, -25.9], False), ([-30, -25], False), ([], False)],
)
def test_a_run_that_ends_below_its_own_best_says_so(tmp_path, values, said):
    run = RunDir(tmp_path)
    lines = [
        MetricsLine(10 * number, number, "valid", 0, value, 1.0, 6)
        for number, value in enumerate(values)
    ]
    metrics.append(run, lines, 0.0)
    found = fallen(run)
    assert bool(found) == said
    assert not said or "-25.70 at step 10" in found[0]


def test_a_fall_that_searches_explain_is_theirs(tmp_path):
    """Held-out rows are in no table: a search that ends early looks like a fall."""
    run = RunDir.create(tmp_path / "run", overwrite=False)
    rows = [(10, -19.4, np.nan), (20, -23.1, 3.6)]
    lines = [
        MetricsLine(step, 1, "valid", 1, value, 0.1, 50, certificate, 0.1)
        for step, value, certificate in rows
    ]
    metrics.append(run, lines, 1.0)
    (found,) = fallen(run)
    assert "end 3.60 nats short of their tops" in found
    assert "by heart" not in found
