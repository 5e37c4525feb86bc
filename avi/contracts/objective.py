"""What an objective must fulfil: a bound on a known log p(x), and the gradient of its own mean.

The gradient is not that of the bound where the objective says that it trains something else.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array

from avi.abilities import TrainsAnother, missing
from avi.contracts.claims import Claim, drawn, mean_at_most, mean_is
from avi.errors import ConfigError
from avi.families.categorical import Categorical
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.models.linear_gaussian import LinearGaussian
from avi.models.mixture import Mixture
from avi.problem import fit
from avi.types import DataSpec, Family, Objective, PRNGKey, Target

PAIRS = (  # with a log p(x) that is known
    (LinearGaussian(2, "shared", 1e-3), DiagonalGaussian(2)),
    (LinearGaussian(2, "shared", 1e-3), FullRankGaussian(2)),
    (Mixture(3, "shared", 1e-2), Categorical(3)),
)
STEP = 0.01  # of the difference quotient, which errs by its fourth power


def claims(objective: Objective, draws: int = 20_000) -> Iterator[Claim]:
    """Yield what holds of an objective under each pair of model and family that it takes."""
    with jax.enable_x64(True):  # difference quotients lose half of the digits
        yield from list(_claims(objective, draws))


def _claims(objective: Objective, draws: int) -> Iterator[Claim]:
    taken = 0
    for model, family in PAIRS:
        try:
            fitted = fit(objective, model, family, "objective")
        except ConfigError:
            continue
        if missing(fitted, model, family):
            continue
        taken += 1
        data = DataSpec(jnp.zeros(3), jnp.zeros(3), "real", 100, jnp.zeros((5, 3)))
        theta = model.init(jax.random.key(2), data)
        target = Target(model, theta, jnp.array([0.4, -0.2, 0.7]))
        yield from _under(fitted, target, family, draws)
    yield Claim("it can be tried on a known log p(x)", taken > 0, f"{taken} of {len(PAIRS)} pairs")


def _under(objective: Objective, target: Target, family: Family, draws: int) -> Iterator[Claim]:
    where = f"({type(target.model).__name__}, {type(family).__name__})"
    lam = family.init() + 0.3 * jax.random.normal(jax.random.key(4), (family.num_params,))
    number = objective.evaluations(family)
    yield Claim(f"evaluations is a number of 1 or more {where}", number >= 1, f"{number}")
    evidence = float(target.model.log_evidence(target.theta, target.x))  # type: ignore[attr-defined]

    def value(lam: Array, key: PRNGKey) -> Array:
        return objective(target, family, lam, key).value

    values = drawn(lambda key: value(lam, key), draws)
    yield mean_at_most(f"its mean is at most log p(x) {where}", values, evidence)
    direction = jax.random.normal(jax.random.key(6), lam.shape)
    direction = direction / jnp.linalg.norm(direction)

    def off(key: PRNGKey) -> Array:
        quotient = (
            8 * (value(lam + STEP * direction, key) - value(lam - STEP * direction, key))
            - value(lam + 2 * STEP * direction, key)
            + value(lam - 2 * STEP * direction, key)
        ) / (12 * STEP)
        gradient = jax.grad(lambda lam: objective(target, family, lam, key).surrogate)(lam)
        return gradient @ direction - quotient

    if isinstance(objective, TrainsAnother):
        return
    yield mean_is(f"surrogate has the gradient of the mean {where}", drawn(off, draws, seed=1))
