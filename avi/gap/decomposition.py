"""From values on shared draws to the gaps of one datapoint."""

from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from avi.abilities import Noisy
from avi.gap.compiled import Weights
from avi.gap.context import Context
from avi.gap.endings import Ending
from avi.gap.search import Found
from avi.gap.statistics import khat_limit, mean_and_error
from avi.population import Points
from avi.results.points import LOW_ESS, NOT_FINITE, STARTS_APART, TAILS, Decomposition
from avi.settings import Split
from avi.types import Estimate

FEWEST_DRAWS = 100  # whose tail has a shape
SURE = 2.0  # standard errors of a bound that rare draws must exceed to count


class Place(NamedTuple):
    """Which row a decomposition is of."""

    row: int
    split: Split


class Evidenced(NamedTuple):
    """One point's estimate of log p(x), and what the flags of its weights depend on."""

    estimate: Estimate
    kind: str
    num_weights: int | None  # K of the estimator, None where it has no weights
    rests_on_q: bool  # the weights are those of draws from q
    khat: float  # of q(z; lam*)
    num_draws: int  # S, of which that is the shape
    tolerance: float  # nats that evidence called exact may be wrong by


class Values(NamedTuple):
    """The ELBO of one point on the same pairs of draws at both ends."""

    at_lam: np.ndarray
    at_best: np.ndarray
    unseen: float  # nats at lam that lie where draws are too rare to be seen


def weights_at(context: Context, points: Points, lams: np.ndarray) -> Weights:
    """Return what the weights of q(z; lam) say, NaN for a family without smooth draws, few draws.

    The Dirichlet and the categorical are no proposals of importance weights here.
    """
    family, draws = context.experiment.problem.family, context.settings.num_draws
    if not isinstance(family, Noisy) or draws < FEWEST_DRAWS:
        nothing = cast(Any, np.full(len(points), np.nan))
        return Weights(nothing, nothing, nothing)
    weigh = context.compiled.weigh
    return cast(Weights, weigh(context.score_key, points.rows, points.ids, lams))


def spacing_at(value: float) -> float:
    """Return the distance from a bound to the next number in the run's precision, in nats."""
    kind = jnp.result_type(float).type
    return float(np.spacing(kind(abs(value))))


@np.errstate(invalid="ignore", over="ignore")  # what is not finite is flagged
def decompose(
    place: Place,
    values: Values,
    won: tuple[str, Found],
    evidence: Evidenced,
) -> Decomposition:
    """Return one point's gaps from its values at lam and at lam* on the same pairs of draws."""
    at_lam, at_best, unseen = values
    winner, found = won
    if found.converged and spacing_at(float(at_best.mean())) > evidence.tolerance:
        found = found._replace(ending=Ending.PRECISION)
    bound, bound_se = mean_and_error(at_lam)
    bound_star, bound_star_se = mean_and_error(at_best)
    _, gap_se = mean_and_error(at_best - at_lam)
    estimate = evidence.estimate
    value = float(estimate.value)
    return Decomposition(
        **place._asdict(),
        bound=bound,
        bound_star=bound_star,
        evidence=value,
        evidence_se=float(estimate.standard_error),
        evidence_kind=evidence.kind,
        approximation_gap=value - bound_star,
        amortization_gap=bound_star - bound,
        inference_gap=value - bound,
        certificate=found.certificate,
        certificate_se=found.certificate_se,
        converged=found.converged,
        winner=winner,
        khat=float(evidence.khat),
        evidence_khat=float(estimate.khat),
        ess=float(estimate.ess),
        gradient_evaluations=found.gradient_evaluations,
        flags=_flags(
            found,
            evidence,
            finite=bool(np.isfinite(bound_star - bound)),
            # Written so that what is no number is too much.
            rare=not unseen <= evidence.tolerance + SURE * bound_se,
        ),
        gap_se=gap_se,
        bound_se=bound_se,
        bound_star_se=bound_star_se,
        guarantee=found.guarantee,
        proof=_proof(found, evidence.tolerance),
    )


def _proof(found: Found, tolerance: float) -> str:
    """Return what stands behind a lam*: a theorem, an estimate, or nothing."""
    if not found.converged:
        return "none"
    if found.ending is Ending.DOUBLED:
        return "doubled"
    return "proved" if found.guarantee < tolerance else "estimated"


def _flags(found: Found, evidence: Evidenced, *, finite: bool, rare: bool) -> str:
    number, estimate = evidence.num_weights, evidence.estimate
    own = number is not None and estimate.khat >= khat_limit(number)
    heavy = evidence.khat >= khat_limit(evidence.num_draws)
    raised = {
        "unconverged": not found.converged,
        str(found.ending): not found.converged,
        TAILS: rare or (found.ending is Ending.TAILS),
        "khat": evidence.rests_on_q and (heavy or own),
        "evidence-se": evidence.kind == "exact" and estimate.standard_error > evidence.tolerance,
        STARTS_APART: estimate.apart > evidence.tolerance,
        LOW_ESS: number is not None and estimate.ess < number / 4,
        NOT_FINITE: not finite,
    }
    return " ".join(name for name, holds in raised.items() if holds)
