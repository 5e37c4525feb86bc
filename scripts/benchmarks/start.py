"""Ten epochs of the MNIST VAE from the shell, start-up and compilation included.

  start.py [--rounds 5] [--epochs 10] [--write]

`avi train` with evaluation and reports off, and the same VAE by NumPyro's SVI in a scan, each as
a process of its own from start to end; with a cold compilation cache and with a warm one.
AVI_PEERS_PYTHON names a Python that has NumPyro, if the one that runs this has not. `--write` adds
the results to benchmarks.json.
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
import numpy as np
from harness import FOLDER, PEERS_PYTHON, ROOT

WORDS = (
    "train experiment=mnist_vae train.eval_points=0 gap.num_points=0 train.report=false "
    "overwrite=true"
).split()


def main() -> None:
    """Measure, print a table, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = place / "train.npy"
        _save_rows(rows)
        peers = {
            "avi": lambda: _avi(place, options.epochs),
            "numpyro-scan": lambda: _numpyro(rows, options.epochs),
        }
        for cache in ("cold", "warm"):
            found: dict[str, list[float]] = {name: [] for name in peers}
            for _ in range(options.rounds):
                for name, run in peers.items():
                    cached = place / f"cache-{name}"
                    if cache == "cold":
                        shutil.rmtree(cached, ignore_errors=True)
                    found[name].append(_seconds(*run(), cached))
            results[cache] = _summary(found)
            print(cache, results[cache], flush=True)
    if options.write:
        rows = [
            harness.Row(
                f"{options.epochs} epochs of the MNIST VAE from the shell, {cache} cache",
                f"{found['avi_seconds']} s",
                "numpyro-scan",
                f"{found['numpyro-scan_seconds']} s",
                found["avi_ratio"],
            )
            for cache, found in results.items()
        ]
        harness.write("start", {"epochs": options.epochs, **results}, rows)


def _save_rows(path: Path) -> None:
    from avi.datasets.mnist import Mnist

    np.save(path, Mnist("dynamic", 0).load().train)


def _avi(place: Path, epochs: int) -> tuple[list[str], str]:
    words = [*WORDS, f"train.epochs={epochs}", f"output={place / 'run'}"]
    return [sys.executable, "-m", "avi", *words], ""


def _numpyro(rows: Path, epochs: int) -> tuple[list[str], str]:
    # One line on its standard input is one epoch.
    script = str(FOLDER / "training_numpyro.py")
    return [PEERS_PYTHON, script, str(rows), "scan", "128"], "\n" * epochs


def _seconds(command: list[str], lines: str, cache: Path) -> float:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    started = time.perf_counter()
    subprocess.run(
        command, input=lines, text=True, check=True, env=environment, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def _summary(found: dict[str, list[float]]) -> dict[str, float]:
    pairs = zip(found["avi"], found["numpyro-scan"], strict=True)
    medians = {f"{name}_seconds": round(median(times), 2) for name, times in found.items()}
    return {**medians, "avi_ratio": round(median(ours / theirs for ours, theirs in pairs), 3)}


if __name__ == "__main__":
    main()
