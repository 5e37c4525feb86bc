"""Calibration of the mode's own q and of q at lam*: what the encoder does, what the family does."""

import numpy as np
from jaxtyping import Int
from scipy import stats

from avi.abilities import Conjugate
from avi.calibrate.ranks import Ranks, names, ranker, simulated
from avi.calibrate.uniformity import Uniformity
from avi.gap.context import Context
from avi.gap.simulated import draw, search
from avi.results.calibration import Calibration, Coverage, OfQ, Quantity
from avi.settings import CalibrateSettings
from avi.types import Model

LEVELS = (0.5, 0.9)  # of central intervals
CONFIDENCE = 0.95  # of the interval around a share of rows


def calibration(context: Context, settings: CalibrateSettings, step: int) -> Calibration:
    """Return how calibrated q is on rows that the model draws: `gap.simulated` of them.

    Args:
        context: parameters, rows and the search for lam*.
        settings: how many draws of q, and of which q.
        step: of the parameters.
    """
    model, num_draws = context.experiment.problem.model, settings.num_draws
    context.on_progress("rows drawn from the model", 0.0)
    points, latents = draw(context)
    ranks = ranker(context, simulated(context, points, latents), num_draws)
    lams = context.lams(points, context.compiled_for_simulated)
    test = Uniformity(len(points), num_draws)
    own = _of_q(test, model, ranks(lams))
    best, certified = None, np.nan
    if settings.search:
        found = search(context, points, lams)
        best = _of_q(test, model, ranks(np.stack([one.lam for one in found])))
        certified = sum(one.converged for one in found)
    band = test.band(settings.failure_rate)
    expected = len(points) * np.arange(1, num_draws + 1) / (num_draws + 1)
    return Calibration(
        n=len(points),
        num_draws=num_draws,
        step=step,
        seed=context.experiment.seed,
        failure_rate=settings.failure_rate,
        band_rate=band.failure_rate,
        band_low=tuple((band.low - expected) / len(points)),
        band_high=tuple((band.high - expected) / len(points)),
        own=own,
        best=best,
        certified=certified,
        seconds=context.clock.seconds,
        remarks=_remarks(model),
    )


def _of_q(test: Uniformity, model: Model, found: Ranks) -> OfQ:
    latent = model.latent
    part = "category" if latent.space == "category" else "coordinate"
    kinds = [part] * latent.size + ["log_joint", "joint"]
    return OfQ(
        tuple(
            _quantity(test, name, kind, column)
            for name, kind, column in zip(names(latent), kinds, found.T, strict=True)
        )
    )


def _quantity(test: Uniformity, name: str, kind: str, found: Int[np.ndarray, " n"]) -> Quantity:
    ends = test.draws + 1
    levels = LEVELS if kind == "coordinate" else ()
    place = (found + 0.5) / ends
    uniform = (1 - 1 / ends**2) / 12
    return Quantity(
        name=name,
        kind=kind,
        p=test.p_value(found),
        mean_rank=float(place.mean()),
        spread=float(np.mean((place - 0.5) ** 2) / uniform),
        coverage=tuple(coverage(found, test.draws, level) for level in levels),
        counts=tuple(np.bincount(found, minlength=ends).tolist()),
    )


def coverage(found: Int[np.ndarray, " n"], num_draws: int, level: float) -> Coverage:
    """Return how often the central interval between two order statistics of the draws holds z.

    Its level is the multiple of 2 / (num_draws + 1) next to the one that is asked for, exactly.
    """
    outside = round((1 - level) / 2 * (num_draws + 1))  # ranks on either side
    inside = int(np.sum((found >= outside) & (found <= num_draws - outside)))
    low, high = stats.binomtest(inside, len(found)).proportion_ci(CONFIDENCE)
    nominal = 1 - 2 * outside / (num_draws + 1)
    return Coverage(nominal, inside / len(found), (float(low), float(high)))


def _remarks(model: Model) -> tuple[str, ...]:
    """Return what keeps even the best q from being calibrated."""
    if not isinstance(model, Conjugate):
        return ()
    return (
        f"{type(model).__name__} draws rows at the mean of its globals, but q(z | x) is of their "
        "whole distribution: where the globals are uncertain, no q is calibrated on these rows.",
    )
