"""Time and memory of a step against the number of rows N, from a thousand to a million.

  scale.py [--rounds 5] [--rows 1000 10000 100000 1000000] [--only avi-amortized,...] [--write]

`avi train` with an encoder and with a table of its own for each row, and NumPyro's guide with a
dense table under subsampling, on N rows of 64 bits, 128 rows a step. AVI_PEERS_PYTHON names a
Python that has NumPyro, if the one that runs this has not. `--write` adds the results to
benchmarks.json.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import harness
import numpy as np
from harness import PEERS_PYTHON, Peer

SIZE = 64  # bits of a row


def main() -> None:
    """Measure, print a table, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6])
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers = {}
        for number in options.rows:
            path = Path(folder) / f"{number}.npy"
            _save_rows(path, number)
            found = [peer for peer in _peers(path) if peer.name in (options.only or [peer.name])]
            peers |= {(peer.name, number): peer for peer in found}
        # Every N in every round: what else the machine does meanwhile falls on all alike.
        each = [replace(peer, name=f"{name} {number}") for (name, number), peer in peers.items()]
        measured = harness.interleave(each, options.rounds)
    names = list(dict.fromkeys(name for name, _ in peers))
    results = {str(number): _summary(measured, names, number, options) for number in options.rows}
    print(_table(results))
    if options.write:
        harness.write("scale", results, _rows(results))


def _save_rows(path: Path, number: int) -> None:
    """Write rows of which avi trains on exactly `number`: 1000 more are held out."""
    generator = np.random.default_rng(0)
    np.save(path, generator.integers(0, 2, (number + 1000, SIZE), np.uint8))


def _peers(rows: Path) -> list[Peer]:
    return [
        Peer("avi-amortized", "scale_avi.py", (str(rows), "amortized")),
        Peer("avi-free_form", "scale_avi.py", (str(rows), "free_form")),
        Peer("numpyro-dense", "scale_numpyro.py", (str(rows),), PEERS_PYTHON),
    ]


def _summary(
    measured: dict[str, Any], names: list[str], number: int, options: argparse.Namespace
) -> dict[str, Any]:
    summary: dict[str, Any] = {"others": round(harness.others(measured), 3)}
    for name in names:
        result = measured[f"{name} {number}"]
        steps, least = _steps(result), _steps(measured[f"{name} {min(options.rows)}"])
        summary[name] = {
            "microseconds_per_step": round(1e6 * median(steps)),
            "to_least_rows": round(_ratio(steps, least), 3),
            "state_bytes": result["facts"]["state_bytes"],
            "peak_bytes": result["units"][-1]["peak_bytes"],
        }
    if {"avi-free_form", "numpyro-dense"} <= set(names):
        ours, theirs = (
            _steps(measured[f"{name} {number}"]) for name in ("avi-free_form", "numpyro-dense")
        )
        summary["ratio"] = round(_ratio(ours, theirs), 3)
    return summary


def _steps(result: dict[str, Any]) -> list[float]:
    """Return the seconds of a step in each round; units differ in their number of steps."""
    return [unit["seconds"] / unit["steps"] for unit in result["units"]]


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _rows(results: dict[str, Any]) -> list[harness.Row]:
    """Return what docs/performance.md shows: the table of `free_form` beside a dense guide."""
    found = []
    for number, summary in results.items():
        ours, theirs = (
            f"{summary[name]['microseconds_per_step']} us, "
            f"{summary[name]['state_bytes'] / 1e6:.1f} MB"
            for name in ("avi-free_form", "numpyro-dense")
        )
        what = f"a step of free_form, N = {int(number):,}"
        found.append(harness.Row(what, ours, "numpyro-dense", theirs, summary["ratio"]))
    return found


def _table(results: dict[str, Any]) -> str:
    names = [name for name in next(iter(results.values())) if name not in ("others", "ratio")]
    heads = [f"{name}, us a step | to N = {min(map(int, results))} | MB of state" for name in names]
    lines = ["| N | " + " | ".join(heads) + " |", "|---" * (1 + 3 * len(names)) + "|"]
    for number, summary in results.items():
        cells = [
            f"{summary[name]['microseconds_per_step']} | {summary[name]['to_least_rows']} "
            f"| {summary[name]['state_bytes'] / 1e6:.1f}"
            for name in names
        ]
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
