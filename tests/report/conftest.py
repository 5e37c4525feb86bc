"""Synthetic run folders: every file of the contract, with numbers that a test can recompute."""

import csv
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

GAP_FIELDS = (
    "row split bound bound_star evidence evidence_se evidence_kind approximation_gap "
    "amortization_gap inference_gap certificate certificate_se converged winner khat ess "
    "gradient_evaluations flags"
).split()


@pytest.fixture(scope="session")
def make_run():
    """Return the function that writes a synthetic run folder."""
    return write_run


def write_run(
    folder: Path,
    *,
    inference: str = "amortized",
    objective: str = "elbo",
    seed: int = 0,
    width: int = 64,
    final: float = -20.0,
    gap: float = 1.3,
    num_data: int = 1437,
    overrides: list[str] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a finished run on 8 x 8 images whose test bound ends at `final`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, width, len(inference)])
    amortized = inference in ("amortized", "semi_amortized")
    choices = {
        "model": "vae",
        "inference": inference,
        "family": "diagonal_gaussian",
        "dataset": "digits",
        "objective": objective,
    }
    _write_config(folder, choices, seed, width, config or {})
    _write_facts(folder, choices, amortized, width, num_data, overrides, seed)
    _write_metrics(
        folder, rng, final, gradients={"amortized": 1, "semi_amortized": 6}.get(inference, 20)
    )
    _write_snapshot(folder, rng)
    _write_gap(folder, rng, gap, final, amortized, objective)
    return folder


def _write_config(folder, choices, seed, width, more) -> None:
    tree = {
        "model": {"_target_": "avi.models.vae.VAE", "latent_size": 8},
        "inference": {"_target_": f"avi.inference.{choices['inference']}", "steps": 20},
        "objective": {"_target_": f"avi.objectives.{choices['objective']}", "num_draws": 5},
        "dataset": {"_target_": "avi.datasets.digits.Digits", "binarize": "fixed"},
        "train": {"epochs": 50, "batch_size": 128, "start": None, "freeze": None},
        "seed": seed,
        "precision": "float32",
        "output": str(folder),
    }
    if "amortized" in choices["inference"]:
        tree["inference"]["network"] = {"widths": [width, width]}
    for key, value in more.items():
        block, name = key.split(".")
        tree[block][name] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def _write_facts(folder, choices, amortized, width, num_data, overrides, seed) -> None:
    forward = {"kind": "forward pass", "gradient_evaluations": 0}
    optimisation = {"kind": "optimisation", "gradient_evaluations": 4000}
    weights = 64 * width + width * width + 2 * width + 17 * 16
    kept = weights if amortized else num_data * 16 if choices["inference"] == "free_form" else 0
    words = [f"output={folder}", f"inference={choices['inference']}", f"seed={seed}"]
    facts = {
        "status": "done",
        "avi": "0.1.0",
        "jax": "0.10.2",
        "jaxlib": "0.10.2",
        "numpy": "2.3.0",
        "python": "3.11.2",
        "machine": "x86_64, 2 cores",
        "device": "cpu",
        "commit": "0123abc",
        "command": ["avi", "train", *words],
        "overrides": words if overrides is None else overrides,
        "choices": choices,
        "bit_exact": True,
        "num_data": num_data,
        "steps_per_epoch": 11,
        "num_model_parameters": 30080,
        "num_variational_parameters": kept,
        "params_per_datapoint": 16,
        "latent_size": 8,
        "image_shape": [8, 8],
        "mode_amortized": amortized,
        "remarks": ["The likelihood's variance stands at its floor."],
        "new_observation": (forward if choices["inference"] == "amortized" else optimisation)
        | {
            "milliseconds_one": {"amortized": 0.21, "semi_amortized": 9.5}.get(
                choices["inference"], 38.0
            ),
            "milliseconds_batch": 0.0042,
        },
    }
    (folder / "run.json").write_text(json.dumps(facts))


def _write_metrics(folder, rng, final, *, gradients) -> None:
    metrics, timing = [], [{"compile_seconds": 3.2}]
    steps, last = 11, 50 * 11

    def write(step, split, value, error, rows) -> None:
        metrics.append(
            {
                "step": step,
                "epoch": step / steps,
                "split": split,
                "gradient_evaluations": step * 128 * gradients,
                "value": value,
                "standard_error": error,
                "num_points": rows,
            }
        )
        timing.append({"step": step, "split": split, "seconds": 0.02 * step})

    for step in range(0, last + 1, steps):
        level = final - 24 * np.exp(-step / 90) + 0.3
        write(step, "train", level + 0.8 + 0.15 * rng.standard_normal(), 0.05, 1408)
        if step % (5 * steps) == 0:
            write(step, "valid", level + 0.2, 0.31, 180)
    write(last, "test", final, 0.3, 180)
    write_lines(folder / "metrics.jsonl", metrics)
    write_lines(folder / "timing.jsonl", timing)


def write_lines(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def _write_snapshot(folder, rng) -> None:
    images, labels = _digits()
    order = rng.permutation(len(images))
    images, labels = images[order] / 16, labels[order]
    centres = rng.normal(size=(10, 8)) * np.array([2.2, 0.05, 1.8, 0.9, 0.02, 0.6, 0.05, 0.4])
    np.savez(
        folder / "snapshot.npz",
        image_shape=np.array([8, 8]),
        rows=order[:600],
        input_rows=order[:120],
        inputs=images[:120].astype(np.float32),
        reconstructions=(0.75 * images[:120] + 0.1).astype(np.float32),
        samples=images[200:224].astype(np.float32),
        latent_mean=(centres[labels[:600]] + 0.45 * rng.normal(size=(600, 8))).astype(np.float32),
        latent_std=np.full((600, 8), 0.3, np.float32),
        labels=labels[:600],
    )


def _write_gap(folder, rng, gap, final, amortized, objective) -> None:
    (folder / "gap").mkdir()
    rows = np.load(folder / "snapshot.npz")["rows"]
    splits, lines = {}, []
    for split, scale in (("train", 0.8), ("test", 1.0)):
        gaps = rng.gamma(2.0, scale * gap / 2, 100)
        rest = rng.gamma(4.0, 0.5, 100)
        bound = final + 1.1 * (split == "train") + 4 * rng.standard_normal(100)
        for index in range(100):
            lines.append(_point(int(rows[index]), split, bound[index], gaps[index], rest[index]))
        splits[split] = {
            "n": 100,
            "bound": mean_se(bound),
            "bound_star": mean_se(bound + gaps),
            "evidence": mean_se(bound + gaps + rest) | {"kind": "lower"},
            "amortization_gap": mean_se(gaps)
            | {
                "median": float(np.median(gaps)),
                "p95": float(np.quantile(gaps, 0.95)),
                "max": float(gaps.max()),
                "interval": [0.97, 1.52],
                "guaranteed": 0.99,
            },
            "approximation_gap": mean_se(rest),
            "inference_gap": mean_se(gaps + rest),
            "certificate": {"mean": 0.0031, "se": 0.0004},
            "converged": 100 if split == "train" else 97,
            "negative": 0,
        }
    with (folder / "gap" / "points.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, GAP_FIELDS)
        writer.writeheader()
        writer.writerows(lines)
    summary = {
        "gap_name": "amortization gap" if amortized else "optimisation gap",
        "bound": "ELBO",
        "objective_trained": objective,
        "seed": 0,
        "num_draws": 1000,
        "tolerance": 0.01,
        "splits": splits,
        "audit": {
            "points": 12,
            "improved": 1,
            "starts": [{"start": "laplace", "n": 12, "higher": 1, "lower": 2, "differ": 0.25}],
            "doubling": {"n": 12, "mean": 0.0012, "se": 0.0004, "ok": True},
        },
        "sandwich": {
            "n": 100,
            "width": 0.061,
            "width_se": 0.02,
            "width_interval": [0.02, 0.104],
            "ess_ratio": 0.97,
            "transfers": True,
            "ok": True,
            "history": [
                {"num_temperatures": 100, "width": 0.31, "width_se": 0.04, "doubling": 0.09},
                {"num_temperatures": 200, "width": 0.061, "width_se": 0.02, "doubling": 0.02},
            ],
        },
        "frontier": {
            "test": [
                {"steps": 0, "mean": 0.0, "se": 0.0, "milliseconds": 0.0},
                {"steps": 5, "mean": 0.6, "se": 0.05, "milliseconds": 0.4},
                {"steps": 50, "mean": 1.2, "se": 0.06, "milliseconds": 3.1},
                {"steps": None, "mean": 1.25, "se": 0.06, "milliseconds": None},
            ]
        },
        "validity": {
            "q_star_converged": False,
            "khat_ok": None,
            "n_ok": True,
            "negative_gap": False,
        },
        "skipped": ["The sandwich of the evidence was left out: a quick report has 20 seconds."],
        "seconds": 14.2,
    }
    (folder / "gap" / "summary.json").write_text(json.dumps(summary))


def mean_se(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "se": float(values.std(ddof=1) / len(values) ** 0.5)}


def _point(row, split, bound, gap, rest) -> dict[str, Any]:
    return dict.fromkeys(GAP_FIELDS, "") | {
        "row": row,
        "split": split,
        "bound": bound,
        "bound_star": bound + gap,
        "evidence": bound + gap + rest,
        "evidence_kind": "lower",
        "approximation_gap": rest,
        "amortization_gap": gap,
        "inference_gap": gap + rest,
        "certificate": 0.003,
        "certificate_se": 0.0004,
        "converged": 1,
        "winner": "mode",
        "gradient_evaluations": 4000,
    }
