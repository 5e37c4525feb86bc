"""What the ELBO is made of at the end of a run: reconstruction and KL, and the latents in use."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from avi.abilities import StandardNormalKL, StandardNormalPrior, drawn, given, offers
from avi.engine.lanes import in_lanes
from avi.population import Points
from avi.process.terminal import measured
from avi.randomness import key_for
from avi.results import metrics
from avi.results.parts import PARTS, Parts, SplitParts, write
from avi.results.record import NAN
from avi.run.product import End, Made, Product
from avi.run.session import Session
from avi.settings import SPLITS
from avi.types import Params, PRNGKey, Psi

ACTIVE = 0.01  # variance of a latent's posterior mean over rows (Burda et al. 2016), and nats of KL
NEXT_TO_NOTHING = 0.1  # nats of KL per datapoint
DRAWS = 100  # of a row's KL that is not known in closed form
OF_PARTS = 1  # folded into the key of evaluations


def split_parts(session: Session, params: Params, points: Points, bound: float) -> SplitParts:
    """Return the parts of the mean ELBO `bound` of some rows, at the lam that it was scored at.

    The KL is exact where it has a closed form, else the mean over draws of log q(z) - log p(z).
    """
    problem, seed = session.experiment.problem, session.experiment.seed
    lams = session.evaluator().lams(params, points, key_for(seed, "evaluate"))
    standard = offers(StandardNormalPrior, problem.model, problem.family)
    if not (standard and offers(StandardNormalKL, problem.model, problem.family)):
        return _drawn(session, params, points.ids, lams, bound, standard=standard)

    def parts_of(psi: Psi, lam: Float[jax.Array, " P"]) -> tuple[jax.Array, ...]:
        family: Any = given(problem.family, psi)
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


def _drawn(
    session: Session,
    params: Params,
    ids: np.ndarray,
    lams: Float[np.ndarray, "n P"],
    bound: float,
    *,
    standard: bool,
) -> SplitParts:
    problem, x = session.experiment.problem, session.spec.example
    model: Any = problem.model
    root = jax.random.fold_in(key_for(session.experiment.seed, "evaluate"), OF_PARTS)

    def parts_of(params: Params, lam: jax.Array, number: jax.Array) -> tuple[jax.Array, ...]:
        family: Any = given(problem.family, params.psi)

        def one(key: PRNGKey) -> jax.Array:
            z, log_q = drawn(family, lam, key)
            # Of whichever x: what is left of the joint is the prior.
            log_prior = model.log_joint(params.theta, x, z) - model.log_likelihood(
                params.theta, x, z
            )
            return log_q - log_prior

        values = jax.vmap(one)(jax.random.split(jax.random.fold_in(root, number), DRAWS))
        return values.mean(), values.var(ddof=1) / DRAWS, family.mean(lam)

    shared = params._replace(phi=())
    whole, variance, means = in_lanes(parts_of)(shared, lams, ids)
    return SplitParts(
        reconstruction=bound + float(whole.mean()),
        kl=float(whole.mean()),
        kl_se=float(np.sqrt(variance.sum()) / len(variance)),
        active=int((means.var(axis=0) > ACTIVE).sum()) if standard else NAN,
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
    knows = hasattr(problem.model, "log_likelihood") and problem.model.latent.space == "real"
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
    kl = measured(one.kl, one.kl_se).strip()
    used = f"{one.active:g} of {len(one.kl_of_each)}" if one.kl_of_each else f"{one.active:g}"
    in_use = f"; {used} latents in use" if math.isfinite(one.active) else ""
    return [f"{split:5} reconstruction {one.reconstruction:.3f}, KL {kl}{in_use}"]


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
