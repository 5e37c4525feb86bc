"""What a run writes while it trains."""

from types import SimpleNamespace

import numpy as np
import pytest

from avi.engine.loop import Chunk
from avi.process.terminal import measured
from avi.results.metrics import MetricsLine
from avi.results.record import plain
from avi.run.recorder import Recorder

SESSION = SimpleNamespace(
    batch_size=8,
    steps_per_epoch=5,
    experiment=SimpleNamespace(
        problem=SimpleNamespace(gradient_evaluations=lambda: 3),
        train=SimpleNamespace(log_every=4),
    ),
)


def test_the_error_of_one_value_is_not_known():
    line = Recorder(SESSION, None).line(10, "test", np.array([-3.0]))
    assert (line.value, plain(line)["standard_error"]) == (-3.0, None)
    assert measured(line.value, line.standard_error).split() == ["-3.000", "nats"]


def test_the_line_of_an_evaluation_is_a_mean_and_its_error():
    bounds = np.random.default_rng(0).standard_normal(40)
    line = Recorder(SESSION, None).line(10, "train", bounds)
    error = bounds.std(ddof=1) / np.sqrt(40)
    assert line == MetricsLine(10, 2, "train", 10 * 3 * 8, bounds.mean(), pytest.approx(error), 40)
    assert measured(-1.0, error).split()[1:] == ["±", f"{error:.3f}", "nats"]


def test_means_over_minibatches_are_called_batches_and_hold_the_bound_alone():
    value, variance = np.arange(6.0), np.full(6, 4.0)
    chunk = Chunk(None, 5, value, variance, np.full(6, 100.0), True, 1.0)
    lines = Recorder(SESSION, None).train_lines(chunk)
    assert [(line.split, line.step, line.num_points) for line in lines] == [
        ("batches", 9, 32),
        ("batches", 11, 16),
    ]
    assert [line.value for line in lines] == [1.5, 4.5]
    assert lines[0].standard_error == pytest.approx(np.sqrt(4.0 / 32))
