"""Runs per hour of a sweep: a pinned process on each core against one run at a time on all cores.

  sweeps.py [--rounds 5] [--seeds 4] [--epochs 3] [--write]

The sweep is `avi train -m experiment=mnist_vae seed=0,1,...` with evaluation and reports off, on
a warm compilation cache. `--write` adds the results to benchmarks.json.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import harness
from harness import ROOT

WORDS = (
    "train -m experiment=mnist_vae train.eval_points=0 train.report=false gap.num_points=0".split()
)


def main() -> None:
    """Measure, print a table, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    jobs = {"one by one": 1, "side by side": os.cpu_count() or 1}
    found: dict[str, list[float]] = {name: [] for name in jobs}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds + 1):
            for name, workers in jobs.items():
                seconds = _seconds(Path(folder), options, workers)
                if number:  # the first round fills the compilation cache
                    found[name].append(seconds / options.seeds)
    ratios = [b / a for a, b in zip(found["one by one"], found["side by side"], strict=True)]
    results = {
        **{f"{name}, seconds a run": round(median(each), 2) for name, each in found.items()},
        **{f"{name}, runs per hour": round(3600 / median(each)) for name, each in found.items()},
        "ratio": round(median(ratios), 3),
        "epochs": options.epochs,
    }
    print(results)
    if options.write:
        side, one = (f"{results[f'{name}, seconds a run']} s a run" for name in reversed(jobs))
        row = harness.Row("a sweep, side by side", side, "one by one", one, results["ratio"])
        harness.write("sweeps", results, [row])


def _seconds(folder: Path, options: argparse.Namespace, workers: int) -> float:
    seeds = ",".join(map(str, range(options.seeds)))
    words = [f"seed={seeds}", f"train.epochs={options.epochs}", f"jobs={workers}"]
    place = folder / "sweep"
    shutil.rmtree(place, ignore_errors=True)
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "avi", *WORDS, *words, f"sweep={place}"],
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | cache,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
