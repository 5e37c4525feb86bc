"""What the ELBO is made of at the end of a run: reconstruction and KL, and the latents in use."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from avi.abilities import StandardNormalKL, StandardNormalPrior, given, offers
from avi.engine.lanes import in_lanes
from avi.population import Points
from avi.randomness import key_for
from avi.results import metrics
from avi.results.parts import PARTS, Parts, SplitParts, write
from avi.run.product import End, Made, Product
from avi.run.session import Session
from avi.settings import SPLITS
from avi.types import Params, Psi

ACTIVE = 0.01  # variance of a latent's posterior mean over rows (Burda et al. 2016), and nats of KL
NEXT_TO_NOTHING = 0.1  # nats of KL per datapoint


def split_parts(session: Session, params: Params, points: Points, bound: float) -> SplitParts:
    """Return the parts of the mean ELBO `bound` of some rows, at the lam that it was scored at."""
    of_weights = session.experiment.problem.family
    lams = session.evaluator().lams(params, points, key_for(session.experiment.seed, "evaluate"))

    def parts_of(psi: Psi, lam: Float[jax.Array, " P"]) -> tuple[jax.Array, ...]:
        family: Any = given(of_weights, psi)
        mean, deviation = family.mean(lam), family.standard_deviation(lam)
        each = 0.5 * (deviation**2 + mean**2 - 1) - jnp.log(deviation)
        return family.kl_to_standard_normal(lam), each, mean

    found = in_lanes(parts_of)(params.psi, lams)
    whole, each, means = (np.asarray(part, np.float64) for part in found)
    each = each.mean(axis=0)
    return SplitParts(
        reconstruction=bound + float(whole.mean()),
        kl=float(whole.mean()),
        kl_of_each=tuple(each.tolist()),
        active=int((means.var(axis=0) > ACTIVE).sum()),
        active_by_kl=int((each > ACTIVE).sum()),
    )


def independent(session: Session) -> float:
    """Return the mean log p(x) of test rows under independent coordinates fitted to training rows.

    Bernoulli where the model's likelihood is of bits, normal where it is a density of real numbers,
    of up to 1000 rows each; NaN where x is no vector or a coordinate does not vary.
    """
    seen, support = session.spec.sample, session.experiment.problem.model.support
    points = session.points("test", len(seen) if isinstance(seen, jax.Array) else 0)
    if not isinstance(seen, jax.Array) or support not in ("binary", "real") or not len(points):
        return float("nan")
    view = session.experiment.dataset.fixed().view
    rows = in_lanes(lambda _, row, number: view(row, number, jnp.int32(0)))
    train = np.asarray(seen, np.float64)
    test = np.asarray(rows(None, points.rows, points.ids), np.float64)
    if support == "binary":
        mean = (train.sum(axis=0) + 0.5) / (len(train) + 1)
        values = np.where(test > 0, np.log(mean), np.log1p(-mean))
    else:
        deviation = train.std(axis=0)
        if not (deviation > 0).all():
            return float("nan")
        score = (test - train.mean(axis=0)) / deviation
        values = -0.5 * score**2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)
    return float(values.reshape(len(test), -1).sum(axis=1).mean())


def _due(session: Session) -> bool:
    problem = session.experiment.problem
    needed = (StandardNormalPrior, StandardNormalKL)
    knows = all(offers(need, problem.model, problem.family) for need in needed)
    return knows and problem.bound_name == "ELBO" and session.experiment.train.eval_points > 0


def _make(end: End) -> Made:
    session = end.session
    final = {line.split: line.value for line in metrics.measured(end.run)}
    found: dict[str, SplitParts] = {
        split: split_parts(session, end.params, points, final[split])
        for split in SPLITS
        if split in final
        and len(points := session.points(split, session.experiment.train.eval_points))
    }
    alone = independent(session)
    write(end.run.path, Parts(found, alone))
    return Made(lines(found), _remarks(found, final, alone))


def lines(found: dict[str, SplitParts]) -> list[str]:
    """Return what the terminal shows of the parts of the held-out bound."""
    split = next((name for name in reversed(SPLITS) if name in found), None)
    if split is None:
        return []
    one = found[split]
    return [
        f"{split:5} reconstruction {one.reconstruction:.3f}, KL {one.kl:.3f} nats; "
        f"{one.active} of {len(one.kl_of_each)} latents in use"
    ]


def _remarks(found: dict[str, SplitParts], final: dict[Any, float], alone: float) -> list[str]:
    test = found.get("test")
    if test is None:
        return []
    said = []
    if test.kl < NEXT_TO_NOTHING:
        said.append(
            f"The latents carry next to nothing: KL(q(z | x) || p(z)) is {test.kl:.3f} nats per "
            "test row."
        )
    if final["test"] <= alone:
        said.append(
            f"The test ELBO, {final['test']:.2f}, is not above the log p(x) of independent "
            f"coordinates, {alone:.2f}: the latents have found nothing that holds beyond the "
            "training rows."
        )
    return said


PRODUCT = Product(files=(PARTS,), due=_due, make=_make)
