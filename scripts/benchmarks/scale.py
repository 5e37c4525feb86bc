"""Time and memory of a step against the number of rows N, from a thousand to a million.

  scale.py [--rounds 5] [--rows 1000 10000 100000 1000000] [--only avi-amortized,...] [--write]

`avi train` with an encoder and with a table of its own for each row, and NumPyro's guide with a
dense table under subsampling, on N rows of 64 bits, 128 rows a step. AVI_PEERS_PYTHON names a
Python that has NumPyro, if the one that runs this has not. `--write` adds the results to
benchmarks.json.
"""

import argparse
import tempfile
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
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in options.rows:
            path = Path(folder) / f"{number}.npy"
            _save_rows(path, number)
            peers = [peer for peer in _peers(path) if peer.name in (options.only or [peer.name])]
            results[str(number)] = _summary(harness.interleave(peers, options.rounds))
            path.unlink()
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


def _summary(measured: dict[str, Any]) -> dict[str, Any]:
    summary: dict[str, Any] = {"others": round(harness.others(measured), 3)}
    for name, result in measured.items():
        each = [unit["seconds"] / unit["steps"] for unit in result["units"]]
        summary[name] = {
            "microseconds_per_step": round(1e6 * median(each)),
            "state_bytes": result["facts"]["state_bytes"],
            "peak_bytes": result["units"][-1]["peak_bytes"],
        }
    if {"avi-free_form", "numpyro-dense"} <= set(measured):
        summary["ratio"] = round(harness.ratio(measured, "avi-free_form", "numpyro-dense"), 3)
    return summary


def _rows(results: dict[str, Any]) -> list[harness.Row]:
    """Return what the README shows: the table of `free_form` beside a dense guide."""
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
    lines = ["| N | " + " | ".join(f"{name}, us a step | MB of state" for name in names) + " |"]
    lines.append("|---" * (1 + 2 * len(names)) + "|")
    for number, summary in results.items():
        cells = [
            f"{summary[name]['microseconds_per_step']} | {summary[name]['state_bytes'] / 1e6:.1f}"
            for name in names
        ]
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
