"""A signal saves and ends with 75 wherever it strikes; only insisting ends at once."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from faults.hooks import Slow, WhenCompiling, without_report
from faults.processes import GAP, MODES, TINY, Avi, avi, digests

from avi.errors import Preempted
from avi.process.signals import HEARD, Stop

WORDS = ["train", "output=run", *TINY, *MODES["amortized"], "train.epochs=6"]
LIMIT = 10.0  # seconds from the signal to the end


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    running = avi(WORDS, folder, (without_report,))
    assert running.process.exitcode == 0, running.output
    return digests(folder / "run")


def end_within_the_limit(running):
    struck = time.monotonic()
    code = running.wait()
    assert time.monotonic() - struck < LIMIT, running.output
    return code


@pytest.mark.parametrize(
    ("number", "phase"),
    [
        (signal.SIGTERM, Slow("avi.run.recorder", "Recorder.train_lines", 0.2)),  # a step
        (signal.SIGINT, Slow("avi.rundir.checkpoints", "_encode_state", 0.2)),  # a save
        (signal.SIGUSR1, Slow("avi.run.train", "open_session", 0.2)),  # loading data
        (signal.SIGUSR2, Slow("avi.run.train", "remarks", 0.2)),  # after the last step
    ],
)
def test_a_signal_saves_and_the_same_command_goes_on(number, phase, uninterrupted, tmp_path):
    running = Avi(WORDS, tmp_path, (without_report, phase))
    running.wait_for(f"{phase.name} begins")
    running.send(number)
    assert end_within_the_limit(running) == Preempted.exit_code, running.output
    assert f"avi: {number.name}: saving, then stopping." in running.output
    again = avi(WORDS, tmp_path, (without_report,))
    assert again.process.exitcode == 0, again.output
    assert digests(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("number", HEARD)
def test_a_signal_before_anything_has_begun_ends_at_once(number, tmp_path):
    running = Avi(WORDS, tmp_path, (Slow("avi.config.compose", "compose", 20),))
    running.wait_for("compose begins")
    running.send(number)
    assert end_within_the_limit(running) == Preempted.exit_code, running.output
    assert f"avi: {number.name}: stopped; the same command goes on." in running.output
    assert "Traceback" not in running.output
    assert not (tmp_path / "run").exists()


def test_a_signal_while_xla_compiles_ends_in_time(uninterrupted, tmp_path):
    strike = WhenCompiling(4, 0.0, signal.SIGTERM)
    running = Avi(WORDS, tmp_path, (without_report, strike), cache=str(tmp_path / "cold"))
    running.wait_for("SIGTERM: saving")
    assert end_within_the_limit(running) == Preempted.exit_code, running.output
    assert avi(WORDS, tmp_path, (without_report,)).process.exitcode == 0
    assert digests(tmp_path / "run") == uninterrupted


def test_a_gap_report_is_interrupted_and_goes_on(uninterrupted, tmp_path):
    assert avi(WORDS, tmp_path, (without_report,)).process.exitcode == 0
    slow = Slow("avi.gap.ledger", "append_lines", 0.3)
    known = tmp_path / "run" / "gap" / "lams.npz"  # where a report begins
    before = known.read_bytes() if known.is_file() else None
    running = Avi(GAP, tmp_path, (without_report, slow))
    running.wait_for("append_lines begins")
    running.send(signal.SIGTERM)
    assert end_within_the_limit(running) == Preempted.exit_code, running.output
    parts = (tmp_path / "run" / "gap" / "parts" / "search.jsonl").read_text()
    assert 0 < parts.count("\n") < 4
    assert avi(GAP, tmp_path, (without_report,)).process.exitcode == 0
    assert (tmp_path / "run" / "gap" / "parts" / "search.jsonl").read_text().startswith(parts)
    points = (tmp_path / "run" / "gap" / "points.csv").read_bytes()
    (tmp_path / "run" / "gap" / "parts" / "identity.txt").unlink()
    known.unlink()
    if before is not None:
        known.write_bytes(before)
    assert avi(GAP, tmp_path, (without_report,)).process.exitcode == 0
    assert (tmp_path / "run" / "gap" / "points.csv").read_bytes() == points
    assert digests(tmp_path / "run") == uninterrupted


# The rules of insisting, and of a main thread that does not return, without jax.

LISTEN = """
import ctypes, os, signal, sys, time
from avi.process import signals
signals.PATIENCE = float(sys.argv[2])
with signals.Stop() as stop:
    print("ready", flush=True)
    if sys.argv[1] == "blocked":
        ctypes.CDLL(None).sleep(20)  # lets other threads run, but no Python handler, like XLA
    end = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(0.01)
"""


def listening(how, patience, *signals_and_pauses):
    """Send signals with pauses between; return the exit code, the seconds and what was said."""
    command = [sys.executable, "-c", LISTEN, how, str(patience)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        for item in signals_and_pauses:
            if isinstance(item, signal.Signals):
                process.send_signal(item)
            else:
                time.sleep(item)
        _, said = process.communicate(timeout=30)
        return process.returncode, time.monotonic() - began, said


@pytest.mark.parametrize("how", ["running", "blocked"])
def test_a_main_thread_that_does_not_come_back_is_ended_with_75(how):
    code, seconds, said = listening(how, 0.5, signal.SIGTERM)
    assert code == Preempted.exit_code
    assert 0.4 < seconds < 5
    assert "stopped with the last saved checkpoint" in said


@pytest.mark.parametrize("how", ["running", "blocked"])
def test_a_second_interrupt_ends_at_once(how):
    code, seconds, _ = listening(how, 15, signal.SIGINT, 0.3, signal.SIGINT)
    assert code == 130
    assert seconds < 5


def test_the_same_signal_after_a_second_ends_at_once():
    code, seconds, _ = listening("running", 15, signal.SIGTERM, 1.2, signal.SIGTERM)
    assert code == 143
    assert seconds < 5


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ((signal.SIGTERM, signal.SIGINT, 0.3, signal.SIGINT), 130),
        ((signal.SIGTERM, signal.SIGUSR2, 1.3, signal.SIGUSR2), 140),
        ((signal.SIGUSR2, 1.3, signal.SIGTERM, 0.3, signal.SIGUSR2), 140),
    ],
)
def test_insisting_is_heard_whatever_came_first(sent, code):
    ended, seconds, _ = listening("running", 15, *sent)
    assert ended == code
    assert seconds < 5


@pytest.mark.parametrize("sent", [(15, 12), (12, 15), (15, 15, 12), (2, 15), (15, 18, 12)])
def test_signals_that_schedulers_send_together_are_one_request(sent):
    code, seconds, _ = listening("running", 2, *map(signal.Signals, sent))
    assert code == Preempted.exit_code
    assert seconds > 1.5


def test_handlers_and_the_wakeup_descriptor_are_given_back():
    before = {number: signal.getsignal(number) for number in HEARD}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    old = signal.set_wakeup_fd(writer)
    try:
        for _ in range(3):
            with Stop() as stop:
                os.kill(os.getpid(), signal.SIGUSR1)
                assert stop.caught == signal.SIGUSR1
                with pytest.raises(Preempted, match="SIGUSR1"):
                    stop.check()
        assert signal.set_wakeup_fd(old) == writer
    finally:
        signal.set_wakeup_fd(old)
        os.close(reader)
        os.close(writer)
    assert {number: signal.getsignal(number) for number in HEARD} == before
    deadline = time.monotonic() + 5
    while any("_Watcher" in repr(thread) for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_in_another_thread_nothing_is_heard_and_nothing_breaks():
    heard = []

    def work():
        with Stop() as stop:
            stop.check()
            heard.append(stop.caught)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [None]
