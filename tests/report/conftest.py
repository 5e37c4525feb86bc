"""Synthetic run folders: every file of the contract, with numbers that a test can recompute."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avi.results import against, calibration, facts, ladder, metrics, parts, points, snapshot
from avi.results import gap as summaries
from avi.results.calibration import Calibration, Coverage, OfQ, Quantity
from avi.results.facts import Cost
from avi.results.flags import Validity
from avi.results.gap import (
    AuditRecord,
    Doubling,
    Ended,
    EvidenceMean,
    FrontierStep,
    GapMean,
    GapSummary,
    Mean,
    Sandwich,
    SandwichStep,
    SplitSummary,
    StartRecord,
)
from avi.results.parts import Parts, SplitParts
from avi.results.weights import Weights
from avi.rundir import RunDir


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
    calibration.write(folder, _calibration())
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
    RunDir(folder).write_config(tree)


def _write_facts(folder, choices, amortized, width, num_data, overrides, seed) -> None:
    mode = choices["inference"]
    weights = 64 * width + width * width + 2 * width + 17 * 16
    kept = weights if amortized else num_data * 16 if mode == "free_form" else 0
    words = [f"output={folder}", f"inference={mode}", f"seed={seed}"]
    facts.record(
        RunDir(folder),
        status="done",
        avi="0.1.0",
        jax="0.10.2",
        jaxlib="0.10.2",
        numpy="2.3.0",
        python="3.11.2",
        instruction_set="x86_64 avx2",
        data_sha256="0" * 64,
        machine="x86_64, 2 cores",
        device="cpu",
        command=["avi", "train", *words],
        overrides=words if overrides is None else overrides,
        choices=choices,
        starts=[],
        bit_exact=True,
        bound="IWAE-5" if choices["objective"] == "iwae" else "ELBO",
        num_data=num_data,
        steps_per_epoch=11,
        num_model_parameters=30080,
        num_variational_parameters=kept,
        params_per_datapoint=16,
        latent_size=8,
        image_shape=[8, 8],
        mode_amortized=amortized,
        directory="/home",
        environment={"AVI_PLUGINS": "mine"},
        columns=(),
        understood=(),
        theta_term=-0.4,
        theta_term_name="log p(theta) / N",
        remarks=["The likelihood's variance stands at its floor."],
        weights=Weights(
            file="vae.safetensors",
            sha256="5" * 64,
            map="pytorch_vae",
            lines={"decoder.layer0.kernel": "fc3.weight^T"},
            left_out=("steps",),
        ),
        new_observation=Cost(
            kind="forward pass" if mode == "amortized" else "optimisation",
            gradient_evaluations=0 if mode == "amortized" else 4000,
            milliseconds_one={"amortized": 0.21, "semi_amortized": 9.5}.get(mode, 38.0),
            milliseconds_batch=0.0042,
        ),
    )


def _write_metrics(folder, rng, final, *, gradients) -> None:
    run, steps, last = RunDir(folder), 11, 50 * 11
    metrics.append_compilation(run, 3.2)

    def write(step, split, value, error, rows) -> None:
        line = metrics.MetricsLine(
            step, step // steps, split, step * 128 * gradients, value, error, rows
        )
        metrics.append(run, [line], 0.02 * step)

    for step in range(0, last + 1, steps):
        level = final - 24 * np.exp(-step / 90) + 0.3
        write(step, "batches", level + 0.8 + 0.15 * rng.standard_normal(), 0.05, 1408)
        if step % (5 * steps) == 0:
            write(step, "valid", level + 0.2, 0.31, 180)
    write(last, "train", final + 1.0, 0.1, 1000)
    write(last, "test", final, 0.3, 180)
    splits = {"test": SplitParts(final + 4.0, 4.0, (2.5, 1.4, 0.001), 2, 2)}
    parts.write(folder, Parts(splits, -40.0))


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def _write_snapshot(folder, rng) -> None:
    images, labels = _digits()
    rng.permutation(len(images))
    order = np.random.default_rng(0).permutation(len(images))  # every run measures the same rows
    images, labels = images[order] / 16, labels[order]
    centres = rng.normal(size=(10, 8)) * np.array([2.2, 0.05, 1.8, 0.9, 0.02, 0.6, 0.05, 0.4])
    snapshot.write(
        folder,
        snapshot.Snapshot(
            image_shape=np.array([8, 8]),
            rows=order[:600],
            input_rows=order[:120],
            inputs=images[:120],
            reconstructions=0.75 * images[:120] + 0.1,
            samples=images[200:224],
            latent_mean=centres[labels[:600]] + 0.45 * rng.normal(size=(600, 8)),
            latent_std=np.full((600, 8), 0.3),
            labels=labels[:600],
        ),
    )


def _write_gap(folder, rng, gap, final, amortized, objective) -> None:
    with np.load(folder / "snapshot.npz") as archive:
        rows = archive["rows"]
    splits, lines = {}, []
    for split, scale in (("train", 0.8), ("test", 1.0)):
        gaps = rng.gamma(2.0, scale * gap / 2, 100)
        rest = rng.gamma(4.0, 0.5, 100)
        bound = final + 1.1 * (split == "train") + 4 * rng.standard_normal(100)
        for index in range(100):
            lines.append(_point(int(rows[index]), split, bound[index], gaps[index], rest[index]))
        certified = 100 if split == "train" else 97
        splits[split] = SplitSummary(
            n=100,
            size=1437 if split == "train" else 180,
            bound=_mean(bound),
            bound_star=_mean(bound + gaps),
            evidence=EvidenceMean(**vars(_mean(bound + gaps + rest)), kind="lower"),
            importance_bound=EvidenceMean(),
            amortization_gap=GapMean(
                **vars(_mean(gaps)) | {"interval": (0.97, 1.52)},
                median=float(np.median(gaps)),
                p95=float(np.quantile(gaps, 0.95)),
                max=float(gaps.max()),
                guaranteed=0.99,
            ),
            approximation_gap=_mean(rest),
            inference_gap=_mean(gaps + rest),
            certificate=Mean(0.0031, 0.0004, 0.0004, 0.0004),
            converged=certified,
            proved=0,
            doubled=2,
            endings=(Ended("saddle", 3, "the bound bends upwards."),) * (certified < 100),
            negative=0,
            gradient_evaluations=4000,
            not_finite=0,
            same_bound=None,
        )
    steps = (
        SandwichStep(100, 0.31, 0.04, None, 0.97, 0.09),
        SandwichStep(200, 0.061, 0.02, (0.02, 0.104), 0.97, 0.02),
    )
    summary = GapSummary(
        gap_name="amortization gap" if amortized else "optimisation gap",
        bound="ELBO",
        objective_trained=objective,
        label="ELBO gap" + (", encoder trained on IWAE-5" if objective == "iwae" else ""),
        seed=0,
        num_draws=1000,
        tolerance=0.01,
        width=64,
        half_width=float("nan"),
        doublings=0,
        splits=splits,
        generalisation_gap=None,
        audit=AuditRecord(
            share=0.1,
            points=12,
            improved=1,
            largest=0.2,
            all_points=False,
            starts=(StartRecord("laplace", 12, 1, 2, 0.25),),
            doubling=Doubling(12, 0.0012, 0.0004, True),
            second_opinions=24,
            second_gains=1,
            winners={"mode": 11, "laplace": 1},
        ),
        sandwich=Sandwich(
            **vars(steps[-1]), n=100, transfers=True, inside=0.99, ok=True, history=steps
        ),
        sandwich_due=True,
        frontier={
            "test": (
                FrontierStep(0, 0.0, 0.0, 0.0),
                FrontierStep(5, 0.6, 0.05, 0.4),
                FrontierStep(50, 1.2, 0.06, 3.1),
                FrontierStep(float("nan"), 1.25, 0.06, gradient_evaluations=4000),
            )
        },
        worst=(),
        not_finite=(),
        validity=Validity(q_star_converged=False, n_ok=True, negative_gap=False),
        skipped=("The sandwich of the evidence was left out: a quick report has 60 seconds.",),
        seconds=14.2,
    )
    points.write(folder, lines, points.Observations())
    summaries.write(folder, summary)
    ladder.write(folder, _ladder(), [])
    others = [
        against.OtherRow(n, -31.0 - n, -29.5 - n, 0.03, 1.5, 0.001, True, "") for n in range(12)
    ]
    beside = against.Against("elsewhere", "test", 12, 100, 12, (_SCORE,))
    against.write(folder, beside, others)


_SCORE = against.Score("likelihood regret", 0.97, (0.9, 0.99))


def _ladder() -> ladder.Ladder:
    """Return two families, the second of which holds the first."""
    first = ladder.Rung("test", "diagonal_gaussian", 4, 0, 100, 98, -23.1, 0.4, left=0.5)
    second = ladder.Rung(
        split="test",
        family="full_rank_gaussian",
        params_per_datapoint=5,
        shared_weights=0,
        n=100,
        converged=100,
        bound=-22.7,
        bound_se=0.4,
        gain=0.4,
        gain_se=0.02,
        gain_interval=(0.36, 0.45),
        holds="diagonal_gaussian",
        below=0,
        left=0.1,
        left_se=0.02,
        evidence_kind="lower",
        gradient_evaluations=7000.0,
        milliseconds=21.0,
    )
    return ladder.Ladder((first, second))


def _mean(values: np.ndarray) -> Mean:
    se = float(values.std(ddof=1) / len(values) ** 0.5)
    return Mean(float(values.mean()), se, 0.01, se)


def _point(row, split, bound, gap, rest) -> points.Decomposition:
    unknown = float("nan")
    return points.Decomposition(
        row=row,
        split=split,
        bound=float(bound),
        bound_star=float(bound + gap),
        evidence=float(bound + gap + rest),
        evidence_se=0.01,
        evidence_kind="lower",
        approximation_gap=float(rest),
        amortization_gap=float(gap),
        inference_gap=float(gap + rest),
        certificate=0.003,
        certificate_se=0.0004,
        converged=True,
        winner="mode",
        khat=unknown,
        evidence_khat=unknown,
        ess=12.0,
        gradient_evaluations=4000,
        flags="",
        gap_se=0.01,
        bound_se=0.02,
        bound_star_se=0.02,
        guarantee=unknown,
    )


def _calibration() -> Calibration:
    """Return that of an encoder whose q is too narrow where the best of its family is not."""
    share = Coverage(0.8, 0.5, (0.36, 0.64))
    narrow = Quantity("z[0]", "coordinate", 1e-5, 0.5, 2.0, (share,), (20, 5, 5, 5, 15))
    low = Quantity("z[1]", "coordinate", 0.01, 0.6, 1.0, (share,), (2, 8, 10, 15, 15))
    even = Quantity("z[0]", "coordinate", 0.7, 0.5, 1.0, (share,), (10, 10, 10, 10, 10))
    density = Quantity("log p(x, z)", "log_joint", 0.04, 0.55, 1.0, (), (8, 8, 9, 10, 15))
    joint = Quantity("joint (TARP)", "joint", 0.6, 0.5, 1.0, (), (9, 11, 10, 10, 10))
    return Calibration(
        n=50,
        num_draws=4,
        step=600,
        seed=0,
        failure_rate=0.05,
        band_rate=0.047,
        band_low=(-0.14, -0.18, -0.18, -0.14),
        band_high=(0.14, 0.18, 0.18, 0.14),
        own=OfQ((narrow, low, density, joint)),
        best=OfQ((even, joint)),
        certified=49,
        seconds=9.5,
        remarks=("The globals are uncertain.",),
    )
