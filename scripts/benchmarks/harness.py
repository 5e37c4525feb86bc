"""The side of the benchmark: peers in processes of their own, asked in turn, A B A B."""

import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
PEERS_PYTHON = os.environ.get("AVI_PEERS_PYTHON", sys.executable)  # has the peers installed
PARTS = ("training", "start", "local", "scale", "sweeps", "lda")
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"  # of the table in docs/performance.md
VERSIONED = ("avi", "jax", "jaxlib", "flax", "optax", "numpyro", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Peer:
    """One way to do the work: a script of this folder with its arguments."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] | None = None  # None: all


class Worker:
    """A peer's process, which does one unit of work for each line that it is sent."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        command = [peer.python, str(FOLDER / peer.script), *peer.arguments]
        if peer.cores is not None:
            command = ["taskset", "-c", ",".join(map(str, peer.cores)), *command]
        started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(peer.environment),
        )
        self.facts = self._answer()
        self.facts["start_seconds"] = time.perf_counter() - started

    def unit(self) -> dict[str, Any]:
        """Return what one unit took, and the share of the machine that others had meanwhile."""
        before = _busy_seconds()
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        result = self._answer()
        busy = _busy_seconds() - before - result["cpu_seconds"]
        return result | {"others": max(0.0, busy / result["seconds"] / (os.cpu_count() or 1))}

    def close(self) -> None:
        """End the process, which has nothing to save."""
        self.process.kill()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.peer.name} ended with {self.process.wait()}.")
        return json.loads(line)


def interleave(peers: Sequence[Peer], rounds: int) -> dict[str, dict[str, Any]]:
    """Return the facts and the units of every peer: one unit of each per round.

    The first unit of each, which compiles, is kept apart.
    """
    workers = [Worker(peer) for peer in peers]
    results = {
        worker.peer.name: {"facts": worker.facts, "first": worker.unit(), "units": []}
        for worker in workers
    }
    for number in range(rounds):
        print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for worker in workers:
            results[worker.peer.name]["units"].append(worker.unit())
    for worker in workers:
        worker.close()
    return results


def medians(results: Mapping[str, Any], key: str = "seconds") -> dict[str, float]:
    """Return each peer's median over the rounds."""
    return {name: median(unit[key] for unit in result["units"]) for name, result in results.items()}


def ratio(results: Mapping[str, Any], ours: str, theirs: str, key: str = "seconds") -> float:
    """Return the median over the rounds of ours / theirs within the same round."""
    pairs = zip(results[ours]["units"], results[theirs]["units"], strict=True)
    return median(a[key] / b[key] for a, b in pairs)


def others(results: Mapping[str, Any]) -> float:
    """Return the median share of the machine that other processes had during the units."""
    return median(unit["others"] for result in results.values() for unit in result["units"])


def circumstances() -> dict[str, Any]:
    """Return machine, versions and date."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": _versions(),
    }


class Row(NamedTuple):
    """One line of that table; the ratio is avi / peer, of times."""

    what: str
    ours: str
    peer: str
    theirs: str
    ratio: float


def write(part: str, results: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Put one part into benchmarks.json, with where and when, and into docs/performance.md."""
    path = ROOT / "benchmarks.json"
    everything = json.loads(path.read_text()) if path.is_file() else {}
    everything[part] = {"circumstances": circumstances(), "results": results, "rows": rows}
    text = json.dumps(everything, indent=2, sort_keys=True)
    path.write_text(text + "\n")
    page = ROOT / "docs" / "performance.md"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    page.write_text(before + begin + _page_table(json.loads(text)) + end + after)


def _page_table(everything: Mapping[str, Any]) -> str:
    """Return all parts as one table, and below it where they were measured."""
    lines = ["| | avi | beside | | avi / it |", "|---|---|---|---|---|"]
    for part in sorted(everything, key=PARTS.index):
        for row in map(Row._make, everything[part]["rows"]):
            lines.append(
                f"| {row.what} | {row.ours} | {row.peer} | {row.theirs} | {row.ratio:.2f} |"
            )
    where = {
        f"{one['processor']}, {one['cores']} cores, {one['date'][:10]}"
        for one in (everything[part]["circumstances"] for part in everything)
    }
    return "\n" + "\n".join(lines) + "\n\n" + "; ".join(sorted(where)) + ".\n"


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONED:
        for python in dict.fromkeys((sys.executable, PEERS_PYTHON)):
            script = f"import importlib.metadata as m; print(m.version({name!r}))"
            answer = subprocess.run([python, "-c", script], capture_output=True, text=True)
            if answer.returncode == 0:
                found[name] = answer.stdout.strip()
                break
    if "avi" not in found:
        from avi import __version__

        found["avi"] = __version__
    return found


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _busy_seconds() -> float:
    """Return the seconds that all cores together have worked since the machine started."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupt, soft = map(int, file.readline().split()[1:8])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")
