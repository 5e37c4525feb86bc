"""What `avi infer` says of each row on request, beside its q: draws, decoded means, corrections."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from avi.abilities import Decodable, Emitting, Noisy, Nominal, OpenLikelihood, given, masks
from avi.engine.lanes import in_lanes
from avi.engine.step import View
from avi.errors import ConfigError
from avi.gap.acceptance import Judged
from avi.gap.compiled import Shared
from avi.gap.context import Context
from avi.gap.statistics import khat_limit
from avi.population import Points
from avi.problem import Problem
from avi.refine.linear_response import linear_response
from avi.run.impute import Under, predicted
from avi.settings import InferSettings
from avi.types import Dataset, Family, Lam, Model, Params, PRNGKey, X


class Rows(NamedTuple):
    """Rows with their q, and what was made of them."""

    problem: Problem
    params: Params
    points: Points
    view: View
    lam: np.ndarray  # [n, P]
    mean: np.ndarray  # E[z], [n, D]
    judged: tuple[Context, Judged] | None  # None: nobody asked whether q stands
    key: PRNGKey  # of draws of missing entries


def require(problem: Problem, dataset: Dataset, wanted: InferSettings) -> None:
    """Raise a ConfigError for what this model, family or data set does not have."""
    model, family = problem.model, problem.family
    if wanted.impute:
        require_missing(model, dataset, "impute=true")
    if wanted.decoded and not isinstance(model, Decodable):
        raise ConfigError(
            f"decoded=true: {type(model).__name__} has no mean of x given z. Leave it out."
        )
    for name in ("psis", "linear_response"):
        if getattr(wanted, name) and not (isinstance(family, Noisy) and _is_real(family)):
            raise ConfigError(
                f"{name}=true: {type(family).__name__} has no smooth draws of a real z. Leave it "
                "out."
            )


def require_missing(model: Model, dataset: Dataset, word: str) -> None:
    """Raise a ConfigError unless missing entries of the data can be filled in.

    Args:
        model: of the run.
        dataset: of the run.
        word: what was asked for, as it was typed.
    """
    if not masks(dataset):
        raise ConfigError(
            f"{word}: this run was trained on data of which no entry may be missing. Train on a "
            "table, dataset=file, and say dataset.missing=mask."
        )
    if not (isinstance(model, Emitting) and isinstance(model, Decodable)):
        raise ConfigError(f"{word}: {type(model).__name__} has no draws of x given z.")
    if isinstance(model, OpenLikelihood) and isinstance(model.likelihood, Nominal):
        raise ConfigError(
            f"{word}: the codes of {type(model.likelihood).__name__} have no order, and so no mean."
        )


def _is_real(family: Family) -> bool:
    return family.latent.space == "real"


def requested(rows: Rows, wanted: InferSettings) -> dict[str, np.ndarray]:
    """Return the arrays that were asked for by their names, each with the rows leading.

    Raises:
        ConfigError: the model or the family does not have one of them.
    """
    return {
        name: array
        for key, make in MAKERS.items()
        if getattr(wanted, key)
        for name, array in make(rows).items()
    }


def draws_of(problem: Problem, params: Params, lams: np.ndarray, keys: Array) -> np.ndarray:
    """Return a draw of each q for each of its keys, [n, S, D], categories [n, S].

    Args:
        problem: with the family.
        params: with the family's weights.
        lams: of the rows, [n, P].
        keys: [n, S].
    """

    def drawn(psi: PyTree, lam: Lam, keys: Array) -> Array:
        family = given(problem.family, psi)
        return jax.vmap(lambda key: family.sample(lam, key))(keys)

    found: np.ndarray = in_lanes(drawn)(params.psi, lams, keys)
    return found


def _decoded(rows: Rows) -> dict[str, np.ndarray]:
    """Return E[x | z] at the mean of each q, in the units of x; of missing entries too."""
    model: Any = rows.problem.model

    def decoded(theta: PyTree, row: PyTree, number: Array, mean: Array) -> X:
        x = rows.view(row, number, jnp.zeros((), jnp.int32))
        masked = isinstance(x, dict)
        if masked:
            x = x | {"mask": jnp.ones_like(x["mask"])}
        found = model.decode(theta, mean, x)
        return found["value"] if masked else found

    array = in_lanes(decoded)(rows.params.theta, rows.points.rows, rows.points.ids, rows.mean)
    return {"decoded": array}


def _psis(rows: Rows) -> dict[str, np.ndarray]:
    """Return mean and deviation of p(z | x) by Pareto-smoothed importance sampling from q.

    NaN where khat does not allow them (Vehtari et al. 2024).
    """
    context, judged = _judged(rows)
    limit = khat_limit(context.settings.num_draws)

    def corrected(shared: Shared, row: PyTree, number: Array, lam: Lam) -> tuple[Array, Array]:
        from blackjax.diagnostics import psis_weights

        z, log_weights = context.compiled.weighted(shared, row, number, lam)
        weights = jnp.exp(psis_weights(log_weights)[0])
        mean = weights @ z
        return mean, jnp.sqrt(weights @ (z - mean) ** 2)

    mapped = context.compiled.over_rows(corrected, keyed=True)
    mean, deviation = mapped(context.score_key, rows.points.rows, rows.points.ids, rows.lam)
    allowed = (judged.khat < limit)[:, None]
    return {
        "psis_mean": np.where(allowed, mean, np.nan),
        "psis_standard_deviation": np.where(allowed, deviation, np.nan),
    }


def _linear_response(rows: Rows) -> dict[str, np.ndarray]:
    """Return the deviation of each z by linear response; NaN where lam is not at a top."""
    context, judged = _judged(rows)
    compiled = context.compiled

    def deviation(shared: Shared, row: PyTree, number: Array, lam: Lam) -> Array:
        local = compiled.local(shared, row, number, compiled.certify_objective)
        return linear_response(local, lam, shared.key_of("certificate", number))

    found = compiled.over_rows(deviation)(rows.points.rows, rows.points.ids, rows.lam)
    at_top = judged.certified[:, None]
    return {"linear_response_standard_deviation": np.where(at_top, found, np.nan)}


def _judged(rows: Rows) -> tuple[Context, Judged]:
    assert rows.judged is not None  # the settings see to it
    return rows.judged


def _imputed(rows: Rows) -> dict[str, np.ndarray]:
    """Return the rows with the mean of what is missing, and its interval; NaN where x was seen."""
    under = Under(rows.problem, rows.params, rows.points, rows.view, rows.lam)
    found = predicted(under, rows.key)
    return {
        "imputed": np.where(under.seen, under.value, found.mean),
        "imputed_low": np.where(under.seen, np.nan, found.low),
        "imputed_high": np.where(under.seen, np.nan, found.high),
    }


# By the key that asks for it. A further one is a line here and a key of `InferSettings`.
MAKERS: dict[str, Callable[[Rows], dict[str, np.ndarray]]] = {
    "decoded": _decoded,
    "psis": _psis,
    "linear_response": _linear_response,
    "impute": _imputed,
}
