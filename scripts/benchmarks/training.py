"""Training, one epoch per unit: `avi train`'s own loop beside NumPyro and PyTorch, interleaved.

  training.py [--rounds 5] [--batch 128 50] [--only avi,numpyro-scan] [--core 0] [--write]

Every peer is a process of its own. AVI_PEERS_PYTHON names a Python that has NumPyro and PyTorch
(pip install 'avi[benchmark]'), if the one that runs this has not. `--write` adds the results to
benchmarks.json.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np
from harness import PEERS_PYTHON, Peer


def main() -> None:
    """Measure, print a table, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 50])
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    parser.add_argument("--core", type=int, default=None, help="pin every peer to this core")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "train.npy"
        _save_rows(rows)
        for batch in options.batch:
            peers = [
                peer
                for peer in _peers(rows, batch, options.core)
                if options.only is None or peer.name in options.only
            ]
            measured = harness.interleave(peers, options.rounds)
            results[f"batch {batch}"] = _summary(measured)
            print(_table(batch, measured))
    if options.write:
        cores_used = "all" if options.core is None else 1
        facts = {"cores_used": cores_used, "batches": results}
        harness.write("training", facts, _rows(results))


def _save_rows(path: Path) -> None:
    from avi.datasets.mnist import Mnist

    np.save(path, Mnist("dynamic", 0).load().train)


def _peers(rows: Path, batch: int, core: int | None) -> list[Peer]:
    cores = None if core is None else (core,)

    def peer(name: str, script: str, *arguments: str) -> Peer:
        return Peer(name, script, arguments, PEERS_PYTHON, cores=cores)

    size = str(batch)
    return [
        Peer("avi", "training_avi.py", (f"train.batch_size={batch}",), cores=cores),
        peer("numpyro-scan", "training_numpyro.py", str(rows), "scan", size),
        peer("numpyro-example", "training_numpyro.py", str(rows), "example", size),
        peer("torch-fused", "training_torch.py", str(rows), "index", size),
        peer("torch-loader", "training_torch.py", str(rows), "loader", size),
        Peer("products-avi", "products.py", ("avi", size), cores=cores),
        Peer("products-xla", "products.py", ("jax", size), cores=cores),
        peer("products-torch", "products.py", "torch", size),
    ]


def _summary(measured: dict[str, Any]) -> dict[str, Any]:
    """Return medians per step, the first unit apart, and each paired ratio avi / peer."""
    trained = {name: result for name, result in measured.items() if "steps" in result["first"]}
    summary: dict[str, Any] = {"others": round(harness.others(measured), 3)}
    for name, result in measured.items():
        steps = result["first"].get("steps")
        summary[name] = {
            "set_up_seconds": round(result["facts"]["start_seconds"], 2),
            "first_seconds": round(result["first"]["seconds"], 2),
        }
        if steps:
            for key in ("seconds", "cpu_seconds"):
                each = harness.medians({name: result}, key)[name] / steps
                summary[name][f"micro{key}_per_step"] = round(1e6 * each)
        else:
            ceiling = harness.medians({name: result}, "step_seconds")[name]
            summary[name]["microseconds_per_step"] = round(1e6 * ceiling)
    for name in trained:
        summary[name] |= _shares(measured, name)
    if "avi" in trained:
        for name in trained:
            for key in ("seconds", "cpu_seconds"):
                paired = harness.ratio(trained, "avi", name, key)
                summary[name][f"avi_ratio_{key}"] = round(paired, 3)
    return summary


def _shares(measured: dict[str, Any], name: str) -> dict[str, float]:
    """Return what a step has of the speed of its own framework's products and of the machine's."""
    ceilings = {
        name: result for name, result in measured.items() if "step_seconds" in result["first"]
    }
    own = next((one for one in ceilings if one == f"products-{_framework(name)}"), None)
    if own is None:
        return {}
    step = harness.medians({name: measured[name]})[name] / measured[name]["first"]["steps"]
    machine = max(harness.medians(ceilings, "machine_gigaflops").values())
    speed = measured[own]["facts"]["flops_per_step"] / step / 1e9
    ceiling = harness.medians({own: measured[own]}, "step_seconds")[own]
    return {
        "share_of_own_products": round(ceiling / step, 3),
        "share_of_machine": round(speed / machine, 3),
    }


def _framework(name: str) -> str:
    return {"avi": "avi", "numpyro": "xla", "torch": "torch"}[name.partition("-")[0]]


def _rows(results: dict[str, Any]) -> list[harness.Row]:
    """Return what docs/performance.md shows."""
    return [
        harness.Row(
            f"a step of the MNIST VAE, {batch}",
            _step_and_share(summary["avi"]),
            name,
            _step_and_share(summary[name]),
            summary[name]["avi_ratio_seconds"],
        )
        for batch, summary in results.items()
        for name in summary
        if name not in ("others", "avi") and "avi_ratio_seconds" in summary[name]
    ]


def _step_and_share(facts: dict[str, Any]) -> str:
    share = facts.get("share_of_own_products")
    products = "" if share is None else f", {100 * share:.0f} % products"
    return f"{facts['microseconds_per_step']} us{products}"


def _table(batch: int, measured: dict[str, Any]) -> str:
    summary = _summary(measured)
    lines = [
        f"batch {batch}; other processes had {100 * summary.pop('others'):.0f} % of the machine"
    ]
    lines.append(
        "| | us a step | CPU us a step | avi / it | avi / it, CPU | of its products "
        "| of the machine | first epoch, s |"
    )
    lines.append("|" + "---|" * 8)
    for name, row in summary.items():
        cells = (
            row.get("microseconds_per_step", ""),
            row.get("microcpu_seconds_per_step", ""),
            row.get("avi_ratio_seconds", ""),
            row.get("avi_ratio_cpu_seconds", ""),
            row.get("share_of_own_products", ""),
            row.get("share_of_machine", ""),
            row["first_seconds"],
        )
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
