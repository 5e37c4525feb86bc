"""Everything one run is made of, built and checked."""

from dataclasses import dataclass
from typing import Any

from avi.abilities import Conjugate, Incomplete, Maskable
from avi.errors import ConfigError
from avi.problem import Problem, fit, pose, require
from avi.settings import Device, GapSettings, Precision, TrainSettings
from avi.types import Dataset, DataSpec, Evidence, Family, Inference, Model, Params, Refine, Support

HOLDS: dict[
    Support, tuple[Support, ...]
] = {  # support of a likelihood -> of data it gives a density to
    "binary": ("binary",),
    "unit": ("unit",),
    "count": ("binary", "count"),
    "real": ("binary", "unit", "count", "real"),
    "terms": ("terms",),
}
INSTEAD: dict[Support, str] = {
    "binary": "likelihood=bernoulli",
    "unit": "likelihood=continuous_bernoulli, likelihood=gaussian, or dataset.binarize=fixed",
    "count": "likelihood=gaussian",
    "real": "likelihood=gaussian",
    "terms": "model=lda",
}


@dataclass(frozen=True)
class Experiment:
    """A problem, its data, its optimisers and its settings."""

    problem: Problem
    dataset: Dataset
    device_budget: float  # bytes of training rows kept on the device
    optimizers: Params
    refine: Refine
    evidence: Evidence
    train: TrainSettings
    gap: GapSettings
    seed: int
    device: Device
    precision: Precision


def make_experiment(
    *,
    model: Model,
    family: Family,
    inference: Inference,
    objective: Any,
    dataset: Dataset,
    device_budget: float,
    optimizers: Params,
    refine: Refine,
    evidence: Any,
    train: TrainSettings,
    gap: GapSettings,
    seed: int,
    device: Device,
    precision: Precision,
) -> Experiment:
    """Return the experiment.

    Raises:
        ConfigError: if two of the parts do not go together; says what to type instead.
    """
    problem = pose(model, family, inference, objective)
    for component in (*optimizers, refine):
        require(component, model, family)
    _check_cone(model, optimizers)
    _check_data(problem, dataset)
    return Experiment(
        problem=problem,
        dataset=dataset,
        device_budget=device_budget,
        optimizers=optimizers,
        refine=refine,
        evidence=fit(evidence, model, family),
        train=train,
        gap=gap,
        seed=seed,
        device=device,
        precision=precision,
    )


def _check_cone(model: Model, optimizers: Params) -> None:
    if isinstance(model, Conjugate) and Conjugate not in getattr(optimizers.theta, "needs", ()):
        raise ConfigError(
            f"theta of {type(model).__name__} are natural parameters of a distribution, which only "
            "steps made for them keep valid. Try optimizer.theta=robbins_monro."
        )
    if Conjugate in getattr(optimizers.phi, "needs", ()):
        raise ConfigError(
            f"{type(optimizers.phi).__name__} moves the globals of a model, not phi. "
            "Try optimizer.phi=adam or optimizer.phi=natural_gradient."
        )


def _check_data(problem: Problem, dataset: Dataset) -> None:
    if problem.inference.per_datapoint and dataset.redraws:
        raise ConfigError(
            f"{type(problem.inference).__name__} keeps one q for one x, but these data are drawn "
            "anew at every visit. Try dataset.binarize=fixed, or inference=amortized."
        )
    masks = isinstance(dataset, Incomplete) and dataset.masks
    if masks and not isinstance(problem.model, Maskable):
        raise ConfigError(
            f"Entries of these data may be missing, but {type(problem.model).__name__} has no "
            "density of the others alone. Try model=linear_gaussian, or fill the entries in."
        )
    if dataset.support not in HOLDS[problem.model.support]:
        of_words = problem.model.support == "terms"
        instead = "dataset=ap or dataset=corpus" if of_words else INSTEAD[dataset.support]
        raise ConfigError(
            f"the likelihood of {type(problem.model).__name__} is a density of "
            f"{problem.model.support} data; these are {dataset.support}. "
            f"Try {instead}."
        )


def check_batch(batch_size: int, data: DataSpec) -> None:
    """Raise ConfigError if a batch is larger than the training set: no row may be in it twice."""
    if batch_size > data.num_data:
        raise ConfigError(
            f"train.batch_size={batch_size} is larger than the training set of {data.num_data} "
            f"rows. Try train.batch_size={max(1, data.num_data // 10)}."
        )
