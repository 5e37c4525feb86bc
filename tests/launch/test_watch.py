"""What a sweep says of its runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avi.launch import watch
from avi.process.grammar import about

ROOT = Path(__file__).resolve().parent.parent.parent
EPOCH = "epoch    2  ELBO, batches   -47.149 nats    1913 steps/s"
TOLD = """
from avi.launch.watch import Watch
with Watch(["first", "second", "third"]) as shown:
    for number in range(3):
        shown.starts(number)
        shown.hears(number, "epoch    2  ELBO")
        shown.hears(number, "a remark")
        shown.ends(number)
"""


def test_without_a_terminal_all_is_said_and_how_many_are_done(capsys, monkeypatch):
    now = iter((0.0, 60.0, 200.0))
    monkeypatch.setattr(watch, "monotonic", lambda: next(now))
    with watch.Watch(["first", "second", "third"]) as shown:
        shown.starts(0)
        shown.hears(0, EPOCH)
        shown.ends(0)
        shown.ends(2)
        shown.ends(1)
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] first",
        f"[1] {EPOCH}",
        "1 of 3 done, about 2 min left",
        "2 of 3 done, about 2 min left",
    ]


def test_on_a_terminal_what_is_over_is_not_kept(tmp_path):
    (tmp_path / "told.py").write_text(TOLD)
    # A process of its own: in this one jax, whose threads no fork survives, may be imported.
    on_terminal = f"import pty; pty.spawn([{sys.executable!r}, {str(tmp_path / 'told.py')!r}])"
    seen = subprocess.run(
        [sys.executable, "-c", on_terminal],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    ).stdout.decode()
    assert [f"[{n}] a remark" in seen for n in (1, 2, 3)] == [True] * 3
    assert "[1] epoch    2  ELBO\r\n[1] a remark" not in seen


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (45, "45 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5400, "2 h")],
)
def test_a_guess_is_said_in_one_unit(seconds, said):
    assert about(seconds) == said
