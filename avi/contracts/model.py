"""What a model must fulfil: its density is one function, and its simulator draws from it."""

from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avi.abilities import (
    ClosedForm,
    Conjugate,
    Coordinate,
    Enumerable,
    LogConcave,
    LowDimensional,
    ManyAtOnce,
    NamedBound,
    Real,
    StandardNormalPrior,
    Tractable,
    is_standard,
    offers,
)
from avi.conjugate import LOG_TWO_PI
from avi.contracts.claims import (
    MOVE,
    Claim,
    drawing,
    drawn,
    exactly,
    length_of,
    mean_is,
    projected,
    with_weights,
)
from avi.errors import ConfigError
from avi.evidence.ais import AnnealedImportanceSampling
from avi.evidence.quadrature import Quadrature
from avi.problem import Problem
from avi.types import DataSpec, Family, Model, PRNGKey, Target, Theta, X

POINTS = 16  # (z, x) at which densities are compared
FEW = 2000  # draws, where each is one of a check that nobody asked for
NODES = 201  # of the rule that exact evidence is held against
ANNEALING = AnnealedImportanceSampling(8, 50, 50, 5, 0.65, 4, "posterior_approximation")
SHAKEN = 0.3  # noise on initial parameters, relative to their size
WEIGHTS = 500  # of annealing, which is unbiased for p(x)
ROUNDING = 1e-4  # relative, of sums in single precision


def require(problem: Problem, data: DataSpec) -> None:
    """Refuse a model of one's own whose density contradicts itself or its simulator.

    avi's own components fulfil these claims in its tests; `avi verify` tries them on any.

    Raises:
        ConfigError: names what does not hold.
    """
    if not _is_foreign(problem.model):
        return
    for claim in _before_training(problem, data):
        if not claim.holds:
            raise ConfigError(
                f"{type(problem.model).__name__}: {claim.name} does not hold ({claim.found}). "
                "Numbers of such a model would mean nothing; `avi verify model=<yours>` tries all "
                "that a model must fulfil."
            )


def _before_training(problem: Problem, data: DataSpec) -> Iterator[Claim]:
    yield from _of_densities(problem.model, data, FEW)
    yield from _of_closed_forms(problem.model, with_weights(problem.family), data, FEW)


def _is_foreign(component: Any) -> bool:
    """Whether a component or a part of it is not avi's own."""
    if isinstance(component, FunctionType):
        return not component.__module__.startswith("avi.")
    parts = getattr(component, "__dataclass_fields__", {})
    own = type(component).__module__.partition(".")[0] in ("avi", "builtins")
    return not own or any(_is_foreign(getattr(component, name)) for name in parts)


def claims(model: Model, family: Family, data: DataSpec, draws: int = 20_000) -> Iterator[Claim]:
    """Yield what holds of a model and of the closed forms that it has for a family."""
    family = with_weights(family)
    yield from _of_densities(model, data, draws)
    theta, (_, x) = _simulated(model, data, POINTS)
    yield Claim(
        "the parameters' log prior is a finite number",
        bool(np.isfinite(model.log_prior(theta))),
        f"{float(model.log_prior(theta)):g}",
    )
    yield from _of_closed_forms(model, family, data, draws)
    if offers(Coordinate, model, family) and offers(ClosedForm, model, family):
        yield _of_coordinate_steps(model, family, theta, x, _somewhere(family))


def _of_closed_forms(model: Any, family: Family, data: DataSpec, draws: int) -> Iterator[Claim]:
    """Hold what a model says it knows against what it then must be."""
    if not (isinstance(model, Tractable | LogConcave) or offers(ClosedForm, model, family)):
        return
    theta, (_, x) = _simulated(model, data, POINTS)
    if isinstance(model, Tractable):
        yield from _of_evidence(model, family, theta, x)
    if offers(ClosedForm, model, family) and not isinstance(model, NamedBound):
        yield _of_closed_form(model, family, theta, _first(x), _somewhere(family), draws)
    if isinstance(model, LogConcave):
        yield _of_concavity(model, theta, x)


def _somewhere(family: Family) -> Array:
    return family.init() + 0.3 * jax.random.normal(jax.random.key(3), (family.num_params,))


def _of_densities(model: Model, data: DataSpec, draws: int) -> Iterator[Claim]:
    theta, (z, x) = _simulated(model, data, POINTS)
    joint = jax.jit(jax.vmap(lambda z, x: model.log_joint(theta, x, z)))(z, x)
    yield Claim(
        "log p(x, z) is finite where the model draws",
        bool(np.isfinite(joint).all()),
        f"{int(np.isfinite(joint).sum())} of {POINTS} draws",
    )
    if isinstance(model, ManyAtOnce):
        yield _of_rows(model, theta, z, x)
    if isinstance(model, StandardNormalPrior) and is_standard(model):
        likelihood = jax.jit(jax.vmap(lambda z, x: model.log_likelihood(theta, x, z)))(z, x)
        prior = -0.5 * np.sum(np.square(z) + LOG_TWO_PI, axis=-1)
        name = "log_joint is log_likelihood and log N(z; 0, I)"
        yield exactly(name, joint, likelihood + prior, ROUNDING)
    if not isinstance(model, Conjugate):  # whose theta is a distribution, averaged over in p(x, z)
        yield from _of_simulator(model, theta, data.example, draws)


def _of_rows(model: ManyAtOnce, theta: Theta, z: Any, x: X) -> Claim:
    together = jax.jit(model.of_rows)(theta, x, z)
    one = jax.vmap(lambda z, x: model.of_rows(theta, x[None], z[None]))
    alone = np.asarray(jax.jit(one)(z, x))
    expected = np.stack([alone[:, 0].sum(), alone[0, 1]])
    name = "a row is scored alike alone and among others (no mean over rows, no len(x))"
    return exactly(name, together, expected, ROUNDING)


def _of_simulator(model: Model, theta: Theta, like: X, draws: int) -> Iterator[Claim]:
    """Two identities over (z, x) ~ p, as theta moves, and z and x where they are real.

    The gradient of log p(x, z) has mean 0, and p(x, z) after a small move over p(x, z) before it
    has mean 1: the latter also where log p is off by a factor, as with a mean in place of a sum.
    """
    real_z = model.latent.space == "real"
    real_x = model.support == "real" and hasattr(like, "shape")

    def at(key: PRNGKey) -> tuple[Any, Callable[[Any], Array]]:
        z, x = model.sample(theta, key, like)

        def log_joint(moving: Any) -> Array:
            theta, own_z, own_x = moving
            return model.log_joint(theta, own_x if real_x else x, own_z if real_z else z)

        return (theta, z if real_z else None, x if real_x else None), log_joint

    def score(key: PRNGKey) -> Array:
        moving, log_joint = at(key)
        return projected(jax.grad(log_joint)(moving))

    def slope(key: PRNGKey, way: Any) -> Array:
        moving, log_joint = at(key)
        return jax.jvp(log_joint, (moving,), (way,))[1]

    def ratio(key: PRNGKey, way: Any) -> Array:
        moving, log_joint = at(key)
        moved = jax.tree.map(jnp.add, moving, way)
        return jnp.exp(log_joint(moved) - log_joint(moving))

    scores = drawn(score, draws)
    yield mean_is("the simulator draws from the density (its score has mean 0)", scores)
    slopes_of, ratios_of, ratios = drawing(slope), drawing(ratio), []
    for number, way in enumerate(_ways(jax.eval_shape(lambda: at(jax.random.key(0))[0]))):
        length = length_of(slopes_of(100, 0, way))
        way = jax.tree.map(lambda leaf, length=length: length * leaf, way)
        ratios.append(ratios_of(draws, number + 1, way))
    moved = jnp.stack(ratios, axis=1) if ratios else jnp.ones((draws, 0))
    yield mean_is("total probability stays 1 as theta, z or x move", moved, 1.0)
    if real_z:

        def stretched(key: PRNGKey, log_factor: Array) -> Array:
            z, x = model.sample(theta, key, like)
            there = model.log_joint(theta, x, jnp.exp(log_factor) * z) + z.size * log_factor
            return there - model.log_joint(theta, x, z)

        slopes = drawn(lambda key: jax.grad(partial(stretched, key))(jnp.zeros(())), 100)
        length = jnp.minimum(length_of(slopes), MOVE)
        # A move that keeps volumes would not see that log p(z) is missing.
        factors = drawn(lambda key: jnp.exp(stretched(key, length)), draws, seed=4)
        yield mean_is("total probability stays 1 as z is stretched", factors, 1.0)


def _ways(shapes: Any) -> Iterator[Any]:
    """Yield a random direction in theta, one in z and one in x, as far as there are any."""
    nowhere = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    for part in range(len(shapes)):
        leaves, tree = jax.tree.flatten(nowhere[part])
        if leaves:
            keys = jax.random.split(jax.random.key(part), len(leaves))
            normal = [
                jax.random.normal(key, leaf.shape, leaf.dtype)
                for key, leaf in zip(keys, leaves, strict=True)
            ]
            yield (*nowhere[:part], jax.tree.unflatten(tree, normal), *nowhere[part + 1 :])


def _of_evidence(model: Any, family: Family, theta: Theta, x: X) -> Iterator[Claim]:
    """Hold exact evidence against a sum or an integral, where one is at hand."""
    evidence = jax.jit(jax.vmap(lambda x: model.log_evidence(theta, x)))(x)
    if isinstance(family, Enumerable):

        def total(x: X) -> Array:
            logs = jax.vmap(lambda z: model.log_joint(theta, x, z))(family.points())
            return jax.nn.logsumexp(logs)

        name = "log_evidence is the sum over every z"
        yield exactly(name, evidence, jax.jit(jax.vmap(total))(x), ROUNDING)
    elif offers(LowDimensional, model, family):
        rule = Quadrature(NODES)

        def integral(x: X) -> Array:
            lam, key = family.init(), jax.random.key(0)
            return rule(Target(model, theta, x), family, lam, key).value

        few = jax.tree.map(lambda leaf: leaf[:4], x)
        integrals = jax.jit(lambda x: jax.lax.map(integral, x))(few)
        yield exactly("log_evidence is the integral over z", evidence[:4], integrals, 10 * ROUNDING)
    elif offers(Real, model, family):
        one, known = _first(x), evidence[0]

        def weight(key: PRNGKey) -> Array:
            estimate = ANNEALING(Target(model, theta, one), family, family.init(), key)
            return jnp.exp(estimate.value - known)

        weights = drawn(weight, WEIGHTS)
        yield mean_is("p(x) is the mean of annealed importance weights", weights, 1.0)


def _of_closed_form(model: Any, family: Any, theta: Theta, x: X, lam: Array, draws: int) -> Claim:
    closed = jax.jit(lambda: model.elbo(theta, x, family, lam))()

    def one(key: PRNGKey) -> Array:
        z = family.sample(lam, key)
        return model.log_joint(theta, x, z) - family.log_prob(lam, z)

    return mean_is("elbo is the mean of log p(x, z) - log q(z)", drawn(one, draws), closed)


def _of_concavity(model: Any, theta: Theta, x: X) -> Claim:
    ends = 2 * jax.random.normal(jax.random.key(5), (2, POINTS, model.latent.size))

    @jax.jit
    @jax.vmap
    def dent(x: X, left: Array, right: Array) -> Array:
        along = jnp.stack([left, (left + right) / 2, right])
        at = jax.vmap(lambda z: model.concave_log_likelihood(theta, x, z))(along)
        return ((at[0] + at[2]) / 2 - at[1]) / (1 + jnp.abs(at[1]))

    worst = float(dent(x, *ends).max())
    return Claim(
        "concave_log_likelihood is concave in z", worst <= ROUNDING, f"largest dent {worst:.1e}"
    )


def _of_coordinate_steps(model: Any, family: Family, theta: Theta, x: X, lam: Array) -> Claim:
    def gain(x: X) -> Array:
        after = model.coordinate_update(theta, x, family)(lam)
        return model.elbo(theta, x, family, after) - model.elbo(theta, x, family, lam)

    worst = float(jnp.min(jax.jit(jax.vmap(gain))(x)))
    return Claim("coordinate_update never lowers elbo", worst >= -1e-2, f"least gain {worst:.1e}")


def _simulated(model: Model, data: DataSpec, number: int) -> tuple[Theta, tuple[Any, X]]:
    """Return parameters and draws (z, x) of the model under them.

    Initial parameters are moved a little, as their symmetries hide faults, unless they are a
    distribution's.
    """

    @jax.jit
    def start() -> Theta:
        theta = model.init(jax.random.key(0), data)
        return theta if isinstance(model, Conjugate) else jax.tree.map(_moved, theta)

    theta = start()
    keys = jax.random.split(jax.random.key(1), number)
    return theta, jax.jit(jax.vmap(lambda key: model.sample(theta, key, data.example)))(keys)


def _moved(leaf: Array) -> Array:
    size = jnp.sqrt(jnp.mean(leaf**2)) if leaf.size else 0.0
    noise = jax.random.normal(jax.random.key(leaf.size), leaf.shape)
    return leaf + SHAKEN * jnp.where(size > 0, size, 1.0) * noise


def _first(rows: X) -> X:
    return jax.tree.map(lambda leaf: leaf[0], rows)
