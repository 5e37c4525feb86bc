"""What a run says while it trains where no terminal listens."""

import io
import re
import sys

import pytest

from avi.process.terminal import Progress, measured, print_any_letter, say


@pytest.mark.parametrize(
    ("epochs", "begun", "said"),
    [
        (300, 0, [1, *range(30, 301, 30)]),
        (7, 0, [1, 2, 3, 4, 5, 6, 7]),
        (20, 13, [14, 16, 18, 20]),
    ],
)
def test_a_line_at_the_first_epoch_and_at_each_tenth(epochs, begun, said, capsys):
    with Progress(2 * epochs, 2, "ELBO") as progress:
        for step in range(2 * begun + 1, 2 * epochs + 1):
            progress.update(step, -1.0, 100.0)
    lines = capsys.readouterr().out.splitlines()
    assert [int(re.match(r"epoch +(\d+)", line)[1]) for line in lines] == said
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("mean", "error", "shown"),
    [
        (-23.4567, 0.0123, "-23.457 ± 0.012 nats"),
        (-1e-5, 0.01, "0.000 ± 0.010 nats"),
        (3e-6, 2e-6, "0.000 ± <0.001 nats"),
        (1.0, 0.0, "1.000 ± <0.001 nats"),
        (1.0, float("nan"), "1.000 nats"),
    ],
)
def test_no_error_is_shown_as_none_and_no_zero_as_negative(mean, error, shown):
    assert measured(mean, error).strip() == shown


class Nobody(io.TextIOWrapper):
    """An output that cannot be set up, as of a reader that has gone."""

    def reconfigure(self, **changes):
        raise OSError(29, "Illegal seek")


@pytest.mark.parametrize("kind", [io.TextIOWrapper, Nobody])
def test_a_letter_that_a_terminal_lacks_is_a_question_mark_and_nobody_is_no_mistake(
    kind, monkeypatch
):
    stream = kind(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_any_letter()
    if kind is io.TextIOWrapper:
        say("1.0 \u00b1 0.1 at \u03bb*")
        assert stream.buffer.getvalue() == b"1.0 ? 0.1 at ?*\n"
