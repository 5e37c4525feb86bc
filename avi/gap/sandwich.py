"""The evidence from both sides, on simulated data: there an upper bound exists too."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from avi.gap.compiled import Compiled
from avi.gap.context import Context
from avi.gap.simulated import INSIDE, REAL, both, bounds, draw, search
from avi.gap.statistics import mean_of
from avi.population import Points
from avi.results.gap import Sandwich, SandwichStep
from avi.types import Estimate, Evidence

WIDEST = 0.2  # nats between the two bounds, at the upper end of their mean over simulated data
LARGEST_DOUBLING = 0.05  # nats that twice the temperatures may still add on the real data
TRANSFER = 0.5  # share of the simulated data's effective sample size that real data must reach


class Simulated(NamedTuple):
    """Rows drawn from the model."""

    points: Points
    latents: np.ndarray  # the true z of each
    lams: np.ndarray  # lam* of each


def settle(
    context: Context, evidence: Any, points: Points, lams: np.ndarray
) -> tuple[Evidence, Sandwich]:
    """Return the evidence with enough temperatures, and what the sandwich says of it.

    Temperatures double until the bounds on simulated data are close and doubling adds nothing on
    real data, or the estimator's own limit is reached.
    """
    simulated = _simulated(context)
    real = np.arange(min(REAL, len(points)))
    real_rows = jax.tree.map(lambda leaf: leaf[real], points.rows)
    arguments = (real_rows, points.ids[real], lams[real])
    before = _half(context.compiled, evidence, arguments)
    history: list[SandwichStep] = []
    while True:
        context.on_progress(f"sandwich at {evidence.num_temperatures} temperatures", 0.0)
        on_real = context.compiled.evidence_of(evidence)(*arguments)
        gained = float((on_real.value - before.value).mean())
        step = _step(context, evidence, simulated, on_real, gained)
        history.append(step)
        close = _widest(step) < WIDEST and step.doubling < LARGEST_DOUBLING
        twice = evidence.doubled()
        if close or twice is None or not context.clock.has_time():
            break
        evidence, before = twice, on_real
    for number in real:
        estimate = Estimate(*(leaf[number] for leaf in on_real))
        context.ledger.add_estimate(points.ids[number], evidence, lams[number], estimate)
    drawn, found = bounds(
        context, simulated.points, simulated.lams, Points(real_rows, points.ids[real]), lams[real]
    )
    inside = float(np.mean((found >= drawn.min()) & (found <= drawn.max())))
    transfers = step.ess_ratio >= TRANSFER and inside >= INSIDE
    return evidence, Sandwich(
        **vars(step),
        n=len(simulated.points),
        transfers=bool(transfers),
        inside=inside,
        ok=bool(close and transfers),
        history=tuple(history),
    )


def _widest(step: SandwichStep) -> float:
    """Return the upper end of the width: of its interval, two standard errors without one."""
    return step.width_interval[1] if step.width_interval else step.width + 2 * step.width_se


def _step(
    context: Context, evidence: Any, simulated: Simulated, on_real: Estimate, gained: float
) -> SandwichStep:
    """Return how far the two bounds are apart on simulated rows, and how like those real ones are.

    A width can come out below zero: its bounds are noisy, hence the interval.
    """
    lower, upper = both(context, *simulated, (evidence, evidence.upper))
    noise = np.hypot(lower.standard_error, upper.standard_error)
    apart = np.asarray(upper.value - lower.value)
    width = mean_of(apart, noise, len(apart), context.experiment.seed)
    return SandwichStep(
        num_temperatures=evidence.num_temperatures,
        width=width.mean,
        width_se=width.se,
        width_interval=width.interval,
        ess_ratio=float(np.median(on_real.ess) / np.median(lower.ess)),
        doubling=gained,
    )


def _half(compiled: Compiled, evidence: Any, arguments: tuple) -> Estimate:
    """Return the evidence at half the first number of temperatures: what doubling starts from."""
    half = max(1, evidence.num_temperatures // 2)
    return compiled.evidence_of(replace(evidence, num_temperatures=half))(*arguments)


def _simulated(context: Context) -> Simulated:
    """Return simulated rows, their true latents and their lam*."""
    points, latents = draw(context)
    lams = context.lams(points, context.compiled_for_simulated)
    best = [found.lam for found in search(context, points, lams)]
    return Simulated(points, latents, np.stack(best))
