"""The ladder of families: what a richer q would buy, on the same rows and the same draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from avi.abilities import Displaceable, Holding, Placeable, SharedWeights, given
from avi.engine.loop import Loop
from avi.engine.step import init_state
from avi.errors import ConfigError
from avi.families.localised import Localised
from avi.gap.audit import Audit
from avi.gap.context import Clock, Context
from avi.gap.ledger import Ledger, LedgerFiles
from avi.gap.search import Found, Job
from avi.gap.statistics import mean_and_error, mean_of
from avi.inference.free_form import FreeForm
from avi.inference.start import Start
from avi.objectives.elbo import Elbo
from avi.population import Points
from avi.problem import Problem, fit, require, require_same_latent
from avi.randomness import key_for
from avi.refine.ascent import Ascent
from avi.results.ladder import Ladder, RowOfRung, Rung
from avi.results.points import Decomposition
from avi.settings import Split
from avi.types import Family, Params, Psi

AWAY = 0.05  # of a unit of the Fisher matrix: starts at a smaller family's optimum may be saddles
FITTED = 3000  # steps that fit weights shared by the rows
BATCH = 128
NOISE = 3.0  # standard errors that a row's bound may fall by


@dataclass(frozen=True)
class Climbed:
    """One family and its best member for every row."""

    name: str
    family: Family  # with its weights
    lams: np.ndarray  # [n, P]
    found: Sequence[Found]
    values: np.ndarray  # [n, pairs], the ELBO on shared draws
    psi: Psi
    seconds: float
    holds: "Climbed | None"

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the bound of every row and its standard error."""
        means, errors = zip(*(mean_and_error(one) for one in self.values), strict=True)
        return np.array(means), np.array(errors)

    def over(self, other: "Climbed") -> tuple[np.ndarray, np.ndarray]:
        """Return how far every row is above another family's, and the error of that."""
        if self.values.shape == other.values.shape:
            pairs = [mean_and_error(one) for one in self.values - other.values]
            gains, errors = (np.array(column) for column in zip(*pairs, strict=True))
            return gains, errors
        (mine, own), (theirs, its) = self.bounds(), other.bounds()
        return mine - theirs, np.hypot(own, its)


def climb(
    context: Context,
    points: Points,
    of_split: Sequence[Split],
    rows: Sequence[Decomposition],
    families: Mapping[str, Family],
) -> tuple[Ladder, list[RowOfRung]]:
    """Return what each family reaches on the points, whose report is `rows`.

    The family of the report stays where that has ended. Each other search begins at the best member
    of a family that this one holds, a little away from it, and that member stays a candidate:
    nested families cannot fall. A family with shared weights is fitted to the rows, and followed by
    the same with weights of each row's own.
    """
    reported = _reported(context, points)
    rungs: list[Climbed] = []
    for name, family in families.items():
        require_same_latent(context.experiment.problem.model, family)
        rungs.append(_climbed(context, points, name, family, [reported, *rungs]))
        if isinstance(family, SharedWeights):
            own, name = Localised(family), f"{name}, own weights"
            rungs.append(_climbed(context, points, name, own, [reported, *rungs]))
    return _told(context, of_split, rows, rungs), list(_rows(context, points, of_split, rungs))


def _reported(context: Context, points: Points) -> Climbed:
    """Return what the report itself has found."""
    found = [context.ledger.optima[row] for row in points.ids.tolist()]
    lams = np.stack([one.lam for one in found])
    values = context.compiled.values(context.score_key, points.rows, points.ids, lams)
    psi = context.params.psi
    family = given(context.experiment.problem.family, psi)
    return Climbed("the report", family, lams, found, values, psi, 0.0, None)


def _climbed(
    context: Context, points: Points, name: str, family: Any, below: Sequence[Climbed]
) -> Climbed:
    """Return the best members of one family; `below` are the report's and those found before."""
    began = perf_counter()
    context.on_progress(f"the best of {name}", 0.0)
    psi, own = _fitted(context, points, family) if isinstance(family, SharedWeights) else ((), None)
    own_context = _of(context, family, psi)
    known = given(family, psi)
    held = next(
        ((one, lams) for one in reversed(below) if (lams := _embedded(known, one)) is not None),
        None,
    )
    ended = next((one.lams for one in below if _is_same(known, one)), None)
    if ended is None:
        starts = _starts(known, len(points), below, own, None if held is None else held[1])
    else:
        starts = [ended]
    jobs = [
        Job(n, start, lam[n], known=ended is not None)
        for start, lam in enumerate(starts)
        for n in range(len(points))
    ]
    own_context.search(points, jobs, 1.0, f"the best of {name}")
    found = {n: [job for job in jobs if job.point == n and job.found] for n in range(len(points))}
    found = Audit(own_context).second_opinions(points, found)
    exact = starts[0] if held is None else held[1]
    winners = own_context.selection(points).winners(exact, found)
    ends = [winners[n][1] for n in range(len(points))]
    lams = np.stack([end.lam for end in ends])
    seconds = perf_counter() - began
    values = own_context.compiled.values(context.score_key, points.rows, points.ids, lams)
    holds = None if held is None or held[0] is below[0] else held[0]
    return Climbed(name, known, lams, ends, values, psi, seconds, holds)


def _of(context: Context, family: Family, psi: Psi) -> Context:
    """Return the same report with another family, and the optimiser that fits it."""
    experiment = context.experiment
    model = experiment.problem.model
    objective = fit(Elbo(2, antithetic=True), model, family)
    try:
        require(experiment.refine, model, family)
        refine = experiment.refine
    except ConfigError:
        refine = Ascent(optax.adam(0.03, b2=0.99), 200, average=True)
    problem = Problem(model, family, Start(), objective)
    return replace(
        context,
        experiment=replace(experiment, problem=problem, refine=refine),
        params=Params(context.params.theta, (), psi),
        clock=Clock(None),  # that of the report itself is over
        ledger=Ledger(LedgerFiles(None, ""), family.num_params),
    )


def _starts(
    family: Any,
    number: int,
    below: Sequence[Climbed],
    own: np.ndarray | None,
    held: np.ndarray | None,
) -> list[np.ndarray]:
    """Return where the searches of every row begin: one or two lam each, [n, P]."""
    found = [] if own is None else [own]
    if held is not None:
        found.append(_moved_away(family, held))
    if below and isinstance(family, Placeable) and own is None:
        placed = jax.vmap(family.member)
        mean, deviation = _moments_of(below[-1])
        found.append(np.asarray(placed(mean, deviation), np.float64))
    return found or [np.tile(np.asarray(family.init(), np.float64), (number, 1))]


def _moments_of(rung: Climbed) -> tuple[Array, Array]:
    both = jax.vmap(lambda lam: (rung.family.mean(lam), rung.family.standard_deviation(lam)))
    mean, deviation = both(jnp.asarray(rung.lams, float))
    return mean, deviation


def _moved_away(family: Any, lams: np.ndarray) -> np.ndarray:
    if not isinstance(family, Displaceable):
        return lams
    steps = AWAY * jax.random.normal(jax.random.key(0), lams.shape)
    return np.asarray(jax.vmap(family.displace)(jnp.asarray(lams, float), steps), np.float64)


def _is_same(family: Any, other: Climbed) -> bool:
    return not isinstance(family, SharedWeights) and bool(family == other.family)


def _embedded(family: Any, smaller: Climbed) -> np.ndarray | None:
    """Return the best members of the smaller family in the larger one, None if it is none."""
    if _is_same(family, smaller):
        return smaller.lams
    if not isinstance(family, Holding) or not family.holds(smaller.family):
        return None
    lams = jnp.asarray(smaller.lams, float)
    embed = jax.vmap(lambda lam: family.embed(smaller.family, lam))
    return np.asarray(embed(lams), np.float64)


def _fitted(context: Context, points: Points, family: Any) -> tuple[Psi, np.ndarray]:
    """Return weights that maximise the mean ELBO of the rows, and the lam of each beside them."""
    model, theta = context.experiment.problem.model, context.params.theta
    observed = context.compiled.observe(points.rows, points.ids)
    number, size = len(points), min(BATCH, len(points))
    objective = fit(Elbo(2, antithetic=True), model, family)
    rate = optax.exponential_decay(0.02, FITTED, 1e-2)
    mode = FreeForm(Ascent(optax.adam(rate), 1, average=False))
    problem = Problem(model, family, mode, objective)
    key = key_for(context.experiment.seed, "search")
    params = Params(theta, mode.init(key, family, None, number), family.init_psi(key))
    params = jax.tree.map(jnp.array, params)
    optimizers = Params(optax.set_to_zero(), optax.adam(rate, b2=0.99))
    loop = Loop(
        problem,
        optimizers,
        lambda row, index, visit: row,
        observed,
        key,
        batch_size=size,
        log_every=FITTED,
    )
    state = init_state(problem, optimizers, params)
    for chunk in loop.fit(state, FITTED):
        state = chunk.state
        context.on_progress(f"the weights of {type(family).__name__}", int(state.step) / FITTED)
    state = loop.whole(state)
    return state.params.psi, np.asarray(state.params.phi, np.float64)


def _told(
    context: Context,
    of_split: Sequence[Split],
    rows: Sequence[Decomposition],
    rungs: Sequence[Climbed],
) -> Ladder:
    evidence = np.array([row.evidence for row in rows])
    noise = np.array([row.evidence_se for row in rows])
    told = []
    for split in dict.fromkeys(of_split):
        index = np.array([n for n, name in enumerate(of_split) if name == split])
        before: Climbed | None = None
        for rung in rungs:
            told.append(_rung(context, split, index, rung, before))
            bounds, errors = rung.bounds()
            left = _mean(context, split, (evidence - bounds)[index], np.hypot(noise, errors)[index])
            kind = rows[index[0]].evidence_kind
            told[-1] = replace(told[-1], left=left.mean, left_se=left.se, evidence_kind=kind)
            before = rung
    return Ladder(tuple(told))


def _mean(context: Context, split: Split, values: np.ndarray, errors: np.ndarray) -> Any:
    return mean_of(values, errors, context.stands_for(split), context.experiment.seed)


def _rung(
    context: Context, split: Split, index: np.ndarray, rung: Climbed, before: Climbed | None
) -> Rung:
    bounds, errors = rung.bounds()
    bound = _mean(context, split, bounds[index], errors[index])
    found = [rung.found[n] for n in index]
    told = Rung(
        split=split,
        family=rung.name,
        params_per_datapoint=rung.family.num_params,
        shared_weights=sum(leaf.size for leaf in jax.tree.leaves(rung.psi)),
        n=len(index),
        converged=sum(one.converged for one in found),
        bound=bound.mean,
        bound_se=bound.se,
        gradient_evaluations=float(np.mean([one.gradient_evaluations for one in found])),
        milliseconds=1000 * rung.seconds / len(rung.found),
    )
    if before is not None:
        gains, noise = rung.over(before)
        gain = _mean(context, split, gains[index], noise[index])
        told = replace(told, gain=gain.mean, gain_se=gain.se, gain_interval=gain.interval)
    if rung.holds is not None:
        gains, noise = rung.over(rung.holds)
        fallen = gains[index] < -NOISE * noise[index] - context.settings.tolerance
        told = replace(told, holds=rung.holds.name, below=int(fallen.sum()))
    return told


def _rows(
    context: Context, points: Points, of_split: Sequence[Split], rungs: Sequence[Climbed]
) -> Any:
    own = context.splits.origin.rows_of(points.ids)
    for rung in rungs:
        bounds, errors = rung.bounds()
        for n, found in enumerate(rung.found):
            yield RowOfRung(
                row=int(own[n]),
                split=of_split[n],
                family=rung.name,
                bound=float(bounds[n]),
                bound_se=float(errors[n]),
                certificate=found.certificate,
                certificate_se=found.certificate_se,
                converged=found.converged,
                ending=str(found.ending),
                gradient_evaluations=found.gradient_evaluations,
            )
