"""Annealed importance sampling with Hamiltonian transitions, from either end of its path."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from avi.abilities import LocationScale, Real
from avi.conjugate import LOG_TWO_PI
from avi.evidence import prior
from avi.types import Estimate, Family, Kind, Lam, PRNGKey, Scalar, Target

SCHEDULE_RADIUS = 4.0  # of the sigmoid: temperatures are dense at both ends
JITTER = 0.2  # relative; a trajectory of constant length can return to where it began
FIRST_STEP = 0.5  # of the pilot run, in units of the start's own scale
SURE = 2.0  # standard errors by which the prior must find more
ADAPTATION = 0.5  # of log step size per unit of acceptance, in the pilot run


class Place(NamedTuple):
    """A chain's position with what is known there."""

    position: Float[Array, " d"]  # u, with z = transport(lam, u): the start is N(0, I)
    log_joint: Scalar  # log p(x, z(u)) |dz / du|
    slope: Float[Array, " d"]  # its gradient


Visit = Callable[[Array], Place]


@dataclass(frozen=True)
class AnnealedImportanceSampling:
    """log of the mean of K weights, each a chain from the start to the posterior (Neal 2001).

    Unbiased for p(x), so a stochastic lower bound on log p(x). The path is geometric, from a
    Gaussian (q(z) if it is one, else one with its mean and standard deviations) or from the prior,
    in coordinates in which its start is N(0, I): HMC needs no other mass matrix. The step size at
    each temperature is what pilot chains found; adapting it on the chains themselves would bias the
    weights. A path from q cannot find a mode that q has missed, one from the prior may: under
    `both`, half of the chains take each. Where those from the prior find more than noise allows,
    theirs is the estimate and says so (`apart`); where they find less, q's own are: each start is
    unbiased, the choice between them is not quite. `upper` runs the chains backwards from an exact
    draw of the posterior, which a simulated x has: bidirectional Monte Carlo (Grosse, Ancha & Roy
    2016).
    """

    num_chains: int  # K
    num_temperatures: int  # T
    max_temperatures: int  # where doubling T ends
    leapfrog: int  # steps of one trajectory
    acceptance: float  # that the pilot run aims at
    pilot_chains: int
    start: Literal["posterior_approximation", "prior", "both"]  # q(z; lam)'s Gaussian, or N(0, I)
    needs: ClassVar[tuple[type, ...]] = (Real,)
    kind: ClassVar[Kind] = "lower"

    def __post_init__(self) -> None:
        for name in ("num_chains", "num_temperatures", "leapfrog", "pilot_chains"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}.")
        if self.start == "both" and self.num_chains % 2:
            raise ValueError(
                f"start=both takes half of the chains for each: num_chains must be even; got "
                f"{self.num_chains}. Try evidence.num_chains={self.num_chains + 1}."
            )
        if not 0 < self.acceptance < 1:
            raise ValueError(f"acceptance is a share, above 0 and below 1; got {self.acceptance}.")

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate:
        """Return the lower bound; its error is that of the log of a mean, by the delta method."""
        if self.start == "both":
            return self._from_both(target, family, lam, key)
        return _estimate(self._log_weights(target, family, lam, key), sign=1)

    def _log_weights(
        self, target: Target, family: Family, lam: Lam, key: PRNGKey
    ) -> Float[Array, " K"]:
        visit = self._place(target, family, lam)
        return self._forward(visit, family.latent.size, key)[0][self.pilot_chains :]

    def _from_both(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate:
        half = replace(self, start="posterior_approximation", num_chains=self.num_chains // 2)
        near = half._log_weights(target, family, lam, key)
        # A key that depends on what came before puts one loop after the other (see `certify`).
        other_key = jax.random.fold_in(key, 1 + jnp.isnan(near).sum())
        far = replace(half, start="prior")._log_weights(target, family, lam, other_key)
        one, other = _estimate(near, sign=1), _estimate(far, sign=1)
        noise = jnp.hypot(one.standard_error, other.standard_error)
        apart = jnp.maximum(other.value - one.value - SURE * noise, 0.0)
        together = _estimate(jnp.concatenate([near, far]), sign=1)
        # What the prior finds beyond q, and noise may explain, is in doubt until more chains tell;
        # and as it alone sees modes that q has missed, so is all that its own noise may hide.
        doubt = jnp.maximum(other.value - one.value, 0.0) / 2
        hidden = jnp.hypot(doubt, other.standard_error)
        # A path that is too short from the prior finds less, and would halve what q's own find.
        short = one.value - other.value > SURE * noise
        here = jax.tree.map(lambda a, b: jnp.where(short, a, b), one, together)
        here = here._replace(standard_error=jnp.hypot(here.standard_error, hidden))
        chosen = jax.tree.map(lambda a, b: jnp.where(apart > 0, a, b), other, here)
        return chosen._replace(apart=apart)

    def upper(self, target: Target, family: Family, lam: Lam, z: Array, key: PRNGKey) -> Estimate:
        """Return an upper bound from z ~ p(z | x), with the step sizes of the lower bound."""
        place = self._place(target, family, lam)
        _, sizes = self._forward(place, family.latent.size, key)
        transport, _ = self._base(target, family, lam)
        origin = jnp.zeros(family.latent.size)
        position = jnp.linalg.solve(jax.jacobian(transport)(origin), z - transport(origin))
        log_weights = self._backward(place, sizes, position, jax.random.fold_in(key, 1))
        return _estimate(log_weights, sign=-1)

    def doubled(self) -> Self | None:
        """Return the estimator with twice the temperatures, None beyond the largest number."""
        twice = 2 * self.num_temperatures
        return replace(self, num_temperatures=twice) if twice <= self.max_temperatures else None

    @property
    def num_weights(self) -> int:
        """K."""
        return self.num_chains

    def temperatures(self) -> Float[Array, " T+1"]:
        """Return the inverse temperatures, 0 to 1."""
        grid = jnp.linspace(-SCHEDULE_RADIUS, SCHEDULE_RADIUS, self.num_temperatures + 1)
        ends = jax.nn.sigmoid(jnp.array([-SCHEDULE_RADIUS, SCHEDULE_RADIUS]))
        return jnp.clip((jax.nn.sigmoid(grid) - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0)

    def _base(
        self, target: Target, family: Any, lam: Lam
    ) -> tuple[Callable[[Array], Array], Scalar]:
        """Return u -> z, which takes N(0, I) to the start of the path, and log |dz / du|."""
        from_prior = self.start == "prior"
        gaussian = isinstance(family, LocationScale)
        if not gaussian or (from_prior and not prior.is_plain(target.model)):
            mean, deviation = self._moments(target, family, lam)
            return lambda position: mean + deviation * position, jnp.log(deviation).sum()
        lam = family.init() if from_prior else lam
        origin = jnp.zeros(family.latent.size)
        # z = m + C u, so the log determinant is log N(0; 0, I) - log q(m) wherever one looks.
        stretch = _log_normal(origin) - family.log_prob(lam, family.transport(lam, origin))
        return lambda position: family.transport(lam, position), stretch

    def _moments(self, target: Target, family: Family, lam: Lam) -> tuple[Array, Array]:
        """Return mean and deviations of q where it has them, else those of the prior."""
        origin, unit = prior.moments(target, family.latent.size)
        if self.start == "prior":
            return origin, unit
        mean, deviation = family.mean(lam), family.standard_deviation(lam)
        usable = jnp.all(jnp.isfinite(mean) & jnp.isfinite(deviation) & (deviation > 0))
        return jnp.where(usable, mean, origin), jnp.where(usable, deviation, unit)

    def _place(self, target: Target, family: Family, lam: Lam) -> Visit:
        transport, stretch = self._base(target, family, lam)

        def log_joint(position: Array) -> Array:
            return target.model.log_joint(target.theta, target.x, transport(position)) + stretch

        def visit(position: Array) -> Place:
            value, slope = jax.value_and_grad(log_joint)(position)
            return Place(position, value, slope)

        return visit

    def _forward(self, visit: Visit, size: int, key: PRNGKey) -> tuple[Array, Array]:
        """Return the log weights of pilots and chains, and the step size at every temperature.

        The pilots walk ahead in the same loop: only their acceptance moves the step size, so that
        for the chains it is a number drawn before them.
        """
        start_key, walk_key = jax.random.split(key)
        number = self.pilot_chains + self.num_chains
        betas = self.temperatures()

        def body(carry: tuple, step: Array) -> tuple[tuple, Array]:
            places, log_weights, log_size = carry
            # A weight is taken before its transition: the chain is still at the old temperature.
            log_weights += (betas[step + 1] - betas[step]) * jax.vmap(_energy)(places)
            step_key = jax.random.fold_in(walk_key, step)
            places, accepted = self._walk(
                visit, places, betas[step + 1], jnp.exp(log_size), step_key
            )
            surplus = accepted[: self.pilot_chains].mean() - self.acceptance
            return (places, log_weights, log_size + ADAPTATION * surplus), jnp.exp(log_size)

        places = jax.vmap(visit)(jax.random.normal(start_key, (number, size)))
        carry = (places, jnp.zeros(number), jnp.log(FIRST_STEP * jnp.ones(())))
        (_, log_weights, _), sizes = jax.lax.scan(body, carry, jnp.arange(self.num_temperatures))
        return log_weights, sizes

    def _backward(self, visit: Visit, sizes: Array, position: Array, key: PRNGKey) -> Array:
        """Walk the same transitions in the opposite order; a weight is taken after each."""
        betas = self.temperatures()

        def body(carry: tuple, step: Array) -> tuple[tuple, None]:
            places, log_weights = carry
            step_key = jax.random.fold_in(key, step)
            places, _ = self._walk(visit, places, betas[step + 1], sizes[step], step_key)
            log_weights += (betas[step + 1] - betas[step]) * jax.vmap(_energy)(places)
            return (places, log_weights), None

        places = jax.vmap(visit)(jnp.tile(position, (self.num_chains, 1)))
        carry = (places, jnp.zeros(self.num_chains))
        backwards = jnp.arange(self.num_temperatures)[::-1]
        (_, log_weights), _ = jax.lax.scan(body, carry, backwards)
        return log_weights

    def _walk(
        self, visit: Visit, places: Place, beta: Array, size: Array, key: PRNGKey
    ) -> tuple[Place, Array]:
        """Return every chain's next place and its probability of acceptance."""
        number, latent_size = places.position.shape
        # One call for all randomness: each costs seconds of compilation.
        noise = jax.random.normal(key, (number, latent_size + 2))
        walk = jax.vmap(self._transition, (None, 0, None, None, 0))
        return walk(visit, places, beta, size, noise)

    def _transition(
        self, visit: Visit, place: Place, beta: Array, size: Array, noise: Array
    ) -> tuple[Place, Array]:
        """Return the place after one HMC trajectory, and its acceptance probability (Neal 2011)."""
        start, (turn, coin) = noise[:-2], jax.scipy.special.ndtr(noise[-2:])
        size = size * (1 + JITTER * (2 * turn - 1))

        def force(position: Array, slope: Array) -> Array:
            return beta * slope - (1 - beta) * position

        def drift(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
            position, momentum = carry
            position = position + size * momentum
            # The value is not used: on the way a step pays for the gradient alone.
            slope_there = visit(position).slope
            return (position, momentum + size * force(position, slope_there)), None

        momentum = start + 0.5 * size * force(place.position, place.slope)
        (position, momentum), _ = jax.lax.scan(
            drift, (place.position, momentum), None, length=self.leapfrog - 1
        )
        end = visit(position + size * momentum)
        momentum_end = momentum + 0.5 * size * force(end.position, end.slope)
        gain = _log_density(end, beta) - _log_density(place, beta)
        gain = gain + 0.5 * (start @ start - momentum_end @ momentum_end)
        probability = jnp.exp(jnp.minimum(jnp.where(jnp.isfinite(gain), gain, -jnp.inf), 0.0))
        accepted: Bool[Array, ""] = coin < probability
        moved = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), end, place)
        return moved, probability


def _log_normal(position: Array) -> Scalar:
    return -0.5 * jnp.sum(position**2 + LOG_TWO_PI)


def _energy(place: Place) -> Scalar:
    """Return the derivative of the log density in the inverse temperature."""
    return place.log_joint - _log_normal(place.position)


def _log_density(place: Place, beta: Array) -> Scalar:
    return beta * place.log_joint + (1 - beta) * _log_normal(place.position)


def _estimate(log_weights: Float[Array, " K"], sign: int) -> Estimate:
    """Return sign * log mean exp(sign * log w): of Z forwards, of 1 / Z backwards."""
    number = log_weights.size
    total = jax.nn.logsumexp(sign * log_weights)
    ess = 1 / jnp.sum(jnp.exp(2 * (sign * log_weights - total)))
    error = jnp.sqrt(jnp.maximum(1 / ess - 1 / number, 0.0))
    undefined = jnp.asarray(jnp.nan)
    return Estimate(sign * (total - jnp.log(float(number))), error, ess, undefined, undefined)
