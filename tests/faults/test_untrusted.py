"""Nothing in a run folder of somebody else runs code, leads elsewhere, hangs or ends in a bug."""

import contextlib
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib
import pytest
from faults.hooks import without_report
from faults.hostile import COMMANDS, CORPUS, SECRET, Evil
from faults.processes import MODES, SOAK, TINY, avi

from avi.cli import main
from avi.errors import Refusal
from avi.process.outcome import explain
from avi.report.run_page import write_report
from avi.run.product import Product
from avi.run.session import Session, open_session, started
from avi.rundir.bounded import read_tree

REFUSED = (2, 4, 7)
FORBIDDEN_HTML = re.compile(r"<script|<img src=x", re.IGNORECASE)
MEMORY = 2**29  # bytes that reading may take
ADDRESSES = 2**33  # bytes that it may reserve: XLA's threads ask for more than they use
UNDRAWN = ("config", "data", "state", "manifest", "checkpoints", "gap parts", ".lock")
DRAWN = ("snapshot", "gap full", "metrics.jsonl values", "metrics.jsonl NaN", "run.json full")
DRAWN += ("run.json of other",)
SECONDS = 20  # of the processor; nothing takes longer, however it is nested
PATIENCE = 180  # seconds, on a machine that has other things to do
ALARMS = (signal.SIGALRM, signal.SIGPROF)
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "pty.spawn",
    "subprocess.Popen",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "urllib.Request",
    "pickle.find_class",
    "webbrowser.open",
)
CHANGING = {"os.remove": 0, "os.rename": 1, "os.mkdir": 0, "os.rmdir": 0, "os.symlink": 1}
CHANGING |= {"os.chmod": 0, "os.truncate": 0, "os.link": 1, "shutil.rmtree": 0}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """What the process does, while it is watched, that no reader of a run folder may do."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple) -> None:
        if self.allowed is None:
            return
        if event in FORBIDDEN or (event == "import" and arguments[0].startswith("evil")):
            self.seen.append(f"{event} {arguments}"[:200])
            raise PermissionError(f"{event} is forbidden while watched")
        if event == "open":
            path, mode, flags = arguments
            if flags & WRITING or (mode and set(mode) & set("wax+")):
                self.written(event, path)
        elif event in CHANGING:
            self.written(event, arguments[CHANGING[event]])

    def written(self, event: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor, whose opening was seen
        real = os.path.realpath(os.path.dirname(os.path.abspath(os.fsdecode(path))))
        if not (real + os.sep).startswith(self.allowed):
            self.seen.append(f"{event} {path!r}"[:200])


WATCH = Watch()
OPENED: dict[str, Session] = {}


class Done(Refusal):
    """What stands for all that happens after everything has been read."""

    exit_code = 0


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    words = ["train", "output=run", *TINY, *MODES["amortized"], "train.epochs=1"]
    running = avi(words, folder, (without_report,))
    assert running.process.exitcode == 0, running.output
    return folder / "run"


@pytest.fixture(scope="module")
def params(good):
    """Parameters as a new run would begin with."""
    return open_session(read_tree(good / "config.yaml")).initial_state().params


@pytest.fixture
def reading(monkeypatch):
    """Let commands read all that they read, and compute nothing from it."""
    import avi.gap
    from avi.gap.ledger import LedgerFiles
    from avi.run import measure as gap
    from avi.run import posterior as infer
    from avi.run import train

    def report(*_, run, **__):
        parts = LedgerFiles(run.path / "gap" / "parts", "forged")
        list(parts.found(num_params=4))
        list(parts.estimates())
        raise Done

    def done(*_):
        raise Done

    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")  # no folder of avi's own
    monkeypatch.setattr(train._Training, "run", lambda self, state: state)
    monkeypatch.setattr(train, "PRODUCTS", (Product((), lambda _: True, done),))
    monkeypatch.setattr(infer, "posteriors", done)
    monkeypatch.setattr(avi.gap, "report", report)
    for module in (train, gap, infer):
        monkeypatch.setattr(module, "open_session", _open_once)


def _open_once(tree, run=None):
    """Open what was not refused once only: most of the corpus leaves the configuration alone."""
    key = repr(sorted(tree.items()))
    if key not in OPENED:
        OPENED[key] = open_session(tree, run)
    return OPENED[key]


def commands_for(name):
    """Return the commands that open what is spoiled; drawing costs more than all the rest."""
    return COMMANDS if SOAK or not name.startswith(UNDRAWN) else COMMANDS[:4]


def sketch(figure, file, format, **_):  # noqa: A002
    """Stand for drawing a figure from what has been read."""
    file.write(b"" if format == "png" else "<svg></svg>")


def run_command(command, run, params):
    """Return the exit code of one reading command, or of what other commands read with."""
    if command in ("start", "report"):
        try:
            started(params, run) if command == "start" else write_report(run)
        except Exception as error:
            return explain(error)
        return 0
    return main.run(
        {
            "resume": ["train", f"resume={run}"],
            "gap": ["gap", f"run={run}", "gap.num_points=2"],
            "infer": ["infer", f"run={run}", "limit=2"],
            "compare": ["compare", str(run), f"out={run.parent / 'out'}"],
        }[command]
    )


@contextlib.contextmanager
def watched(run):
    """Watch, and let nothing but the folder around the run be written to."""
    cache = jax.config.jax_compilation_cache_dir
    allowed = [run.parent, matplotlib.get_cachedir(), *([cache] if cache else [])]
    before = [signal.signal(number, _too_long) for number in ALARMS]
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + ADDRESSES, unlimited[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    WATCH.seen = []
    WATCH.allowed = tuple(os.path.realpath(path) + os.sep for path in allowed)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(PATIENCE)
    try:
        yield WATCH.seen
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
        WATCH.allowed = None
        for number, handler in zip(ALARMS, before, strict=True):
            signal.signal(number, handler)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown * 1024 < MEMORY, grown


def _mapped():
    """Return the bytes of the address space that are in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _too_long(*_):
    raise AssertionError("It hung.")


def test_the_good_run_is_read_by_all(good, params, tmp_path, reading, capsys):
    for command in COMMANDS:
        run = tmp_path / command / "run"
        shutil.copytree(good, run)
        with watched(run) as seen:
            code = run_command(command, run, params)
        assert code == 0, (command, str(capsys.readouterr()))
        assert not seen, command


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_run_is_refused_or_read_as_data(
    name, good, params, tmp_path, reading, capsys, monkeypatch
):
    spoil, refused_by = CORPUS[name]
    if not (SOAK or name.startswith(DRAWN)):
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", sketch)
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    for command in commands_for(name):
        run = tmp_path / command / "run"
        shutil.copytree(good, run)
        monkeypatch.chdir(run.parent)
        spoil(run)
        outside = {path: path.stat().st_mtime_ns for path in run.parent.rglob("outside/**")}
        with watched(run) as seen:
            code = run_command(command, run, params)
        said = "".join(capsys.readouterr())
        assert not seen, (command, seen)
        assert code in ((*REFUSED, 6) if command in refused_by else (0, *REFUSED, 6)), (
            command,
            said,
        )
        assert "Traceback" not in said
        assert SECRET not in said
        assert "\x1b]" not in said
        assert not list(tmp_path.rglob("owned*"))
        now = {path: path.stat().st_mtime_ns for path in run.parent.rglob("outside/**")}
        assert now == outside
        for page in [*run.parent.rglob("*.html"), *run.parent.rglob("*.md")]:
            assert page.is_symlink() or not FORBIDDEN_HTML.search(page.read_text()), command


def test_the_corpus_is_as_large_as_it_claims():
    assert len(CORPUS) >= 40
    assert sum(bool(item.refused_by) for item in CORPUS.values()) >= 40


def test_the_watch_prevents_what_it_is_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with watched(tmp_path / "here" / "run") as seen:
        with pytest.raises(PermissionError):
            subprocess.run(["touch", "owned"], check=True)
        with pytest.raises(PermissionError):
            pickle.loads(pickle.dumps(Evil()))
        with pytest.raises(PermissionError):
            os.system("touch owned")
        (elsewhere / "owned").touch()
    assert [event.split(" ")[0] for event in seen] == [
        "subprocess.Popen",
        "pickle.find_class",
        "os.system",
        "open",
    ]
    assert not (tmp_path / "owned").exists()
