"""lam* from a cold start for test rows of a trained decoder, to one certified accuracy.

  local.py [--run <folder>] [--rows 1000] [--rounds 5] [--write]

Each round does its own part of the rows. Peers: the search of `avi gap` with averaged Adam and with
natural gradients; the same Adam over batches of 100 with one stopping rule for each batch; and
PyTorch, one row after the other, on a few rows (its time for all of them is extrapolated). A row is
done when avi's certificate is below 0.01 nat by two standard errors. AVI_PEERS_PYTHON names a
Python that has PyTorch, if the one that runs this has not, and all that avi needs. `--write` adds
the results to benchmarks.json.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

import harness
from harness import PEERS_PYTHON, Peer

OURS = "avi-adam"  # the default of refine
FEW = 4  # of a round's rows, which PyTorch does
LANES = 100  # of avi's searches: fewer rows a round leave some of them empty
TRAINING = "train experiment=mnist_vae train.epochs=10 train.eval_points=0 gap.num_points=0".split()


def main() -> None:
    """Measure, print a table, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=None, help="default: 10 epochs of mnist_vae")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.rows < LANES * options.rounds:
        least = LANES * options.rounds
        parser.error(f"{options.rounds} rounds need {least} rows or more: try --rows {least}.")
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or Path(folder) / "run"
        if options.run is None:
            words = [*TRAINING, f"output={run}"]
            subprocess.run([sys.executable, "-m", "avi", *words], check=True, stdout=sys.stderr)
        measure(run.resolve(), options)


def measure(run: Path, options: argparse.Namespace) -> None:
    """Measure on the test rows of a run, print a table, and write if asked to."""
    rounds = options.rounds

    def peer(name: str, refine: str, how: str) -> Peer:
        return Peer(name, "local_avi.py", (str(run), str(options.rows), str(rounds), refine, how))

    peers = [
        peer(OURS, "adam", "lanes"),
        peer("avi-natural_gradient", "natural_gradient", "lanes"),
        peer("batches-adam", "adam", "batches"),
        Peer(
            "torch-one-by-one",
            "local_torch.py",
            (str(run), str(options.rows), str(rounds), str(FEW)),
            PEERS_PYTHON,
        ),
    ]
    peers = [peer for peer in peers if peer.name in (options.only or [peer.name])]
    results = _summary(harness.interleave(peers, rounds))
    print(_table(results))
    if options.write:
        harness.write("local", {"rows": options.rows, "peers": results}, _rows(results))


def _summary(measured: dict[str, Any]) -> dict[str, Any]:
    summary = {}
    for name, result in measured.items():
        units = result["units"]
        certificates = [one for unit in units for one in unit["certificates"]]
        summary[name] = {
            "milliseconds_per_row": round(1e3 * median(map(_each, units)), 2),
            "rows": len(certificates),
            "mean_certificate": mean(certificates),
            "converged": sum(unit["converged"] for unit in units),
            "rounds": len(units),
        }
    if OURS in measured:
        for name, result in measured.items():
            pairs = zip(measured[OURS]["units"], result["units"], strict=True)
            paired = median(_each(ours) / _each(theirs) for ours, theirs in pairs)
            summary[name]["avi_ratio_seconds"] = round(paired, 3)
    return summary


def _each(unit: dict[str, Any]) -> float:
    return unit["seconds"] / len(unit["certificates"])


def _rows(results: dict[str, Any]) -> list[harness.Row]:
    """Return what docs/performance.md shows: the search as reports do it beside the others."""
    ours = results[OURS]
    return [
        harness.Row(
            f"lam* from a cold start, {ours['converged']} of {ours['rows']} rows certified",
            f"{ours['milliseconds_per_row']} ms a row",
            f"{name}, {one['converged']} of {one['rows']} rows",
            f"{one['milliseconds_per_row']} ms a row",
            one["avi_ratio_seconds"],
        )
        for name, one in results.items()
        if name != OURS
    ]


def _table(results: dict[str, Any]) -> str:
    lines = ["| | ms a row | mean certificate, nats | rows converged | rows |", "|" + "---|" * 5]
    lines += [
        f"| {name} | {one['milliseconds_per_row']} | {one['mean_certificate']:.4f} | "
        f"{one['converged']} | {one['rows']} |"
        for name, one in results.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
