"""Everything one run is made of, built and checked."""

from dataclasses import dataclass

from avi.abilities import Conjugate, Maskable, OpenLikelihood, masks, offers
from avi.errors import ConfigError
from avi.problem import Problem, fit, pose, require_same_latent
from avi.settings import Device, GapSettings, Precision, TrainSettings
from avi.types import (
    Dataset,
    Evidence,
    Family,
    Inference,
    Model,
    Objective,
    Params,
    Refine,
)

HOLDS: dict[str, tuple[str, ...]] = {  # support of a likelihood -> of data it gives a density to
    "binary": ("binary",),
    "unit": ("unit",),
    "count": ("binary", "count"),
    "positive": ("positive",),
    "real": ("binary", "unit", "count", "positive", "real"),
    "terms": ("terms",),
    "any": ("binary", "unit", "count", "positive", "real"),
}
INSTEAD: dict[str, str] = {
    "binary": "likelihood=bernoulli",
    "unit": "likelihood=continuous_bernoulli, likelihood=gaussian, or dataset.binarize=fixed",
    "count": "likelihood=poisson, or likelihood=negative_binomial",
    "positive": "likelihood=log_normal, or likelihood=gaussian",
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
    objective: Objective,
    dataset: Dataset,
    device_budget: float,
    optimizers: Params,
    refine: Refine,
    evidence: Evidence,
    train: TrainSettings,
    gap: GapSettings,
    seed: int,
    device: Device,
    precision: Precision,
) -> Experiment:
    """Return the experiment; what stands for several components is replaced by what it chooses.

    Raises:
        ConfigError: if two of the parts do not go together; says what to type instead.
    """
    require_same_latent(model, family)
    family = fit(family, model, family, "family")
    # Before the modes, some of which hold it too: a remedy is the key of the whole.
    refine = fit(refine, model, family, "refine")
    problem = pose(model, family, inference, objective)
    model = problem.model
    _check_phi(optimizers)
    optimizers = Params(
        theta=fit(optimizers.theta, model, family, "optimizer.theta"),
        phi=fit(optimizers.phi, model, family, "optimizer.phi"),
    )
    _check_cone(model, optimizers)
    _check_data(problem, dataset)
    return Experiment(
        problem=problem,
        dataset=dataset,
        device_budget=device_budget,
        optimizers=optimizers,
        refine=refine,
        evidence=fit(evidence, model, family, "evidence"),
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


def _check_phi(optimizers: Params) -> None:
    if Conjugate in getattr(optimizers.phi, "needs", ()):
        raise ConfigError(
            f"{type(optimizers.phi).__name__} moves the globals of a model, not phi. "
            "Try optimizer.phi=adam."
        )


def _check_data(problem: Problem, dataset: Dataset) -> None:
    if problem.inference.per_datapoint and dataset.redraws:
        raise ConfigError(
            f"{type(problem.inference).__name__} keeps one q for one x, but these data are drawn "
            "anew at every visit. Try dataset.binarize=fixed, or inference=amortized."
        )
    if masks(dataset) and not offers(Maskable, problem.model, problem.family):
        model = problem.model
        part = model.likelihood if isinstance(model, OpenLikelihood) else model
        likelihood = INSTEAD.get(dataset.support, "a likelihood that has log_probs")
        raise ConfigError(
            f"Entries of these data may be missing, but {type(part).__name__} has no density of "
            f"the others alone. Try model=vae with {likelihood}; or fill the entries in."
        )
    _check_support(problem.model, dataset)


def is_held(model: Model, dataset: Dataset) -> bool:
    """Return whether the model's likelihood gives such data a density."""
    # A support of one's own is that of one's own data.
    return dataset.support in HOLDS.get(model.support, (model.support,))


def _check_support(model: Model, dataset: Dataset) -> None:
    if not is_held(model, dataset):
        raise ConfigError(
            f"the likelihood of {type(model).__name__} is a density of {model.support} data; these "
            f"are {dataset.support}. {_other_support(model, dataset)}"
        )


def _other_support(model: Model, dataset: Dataset) -> str:
    for component in (model, dataset):
        if component.support not in HOLDS:
            return (
                f"The support of {type(component).__name__} is none of {', '.join(HOLDS)}. Try one "
                "of them, or one name of your own in both."
            )
    if model.support == "terms":
        return "Try dataset=ap, or dataset=corpus dataset.path=<file>."
    return f"Try {INSTEAD[dataset.support]}."
