"""What a gap report computes on the device: functions of one point, in lanes of one width."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from avi.abilities import Drawn, Noisy, Reparametrised, Unrestricted, draw_and_log_prob
from avi.engine import placement
from avi.engine.lanes import in_lanes
from avi.evidence.iwae import mean_of_weights, pareto_khat
from avi.experiment import Experiment
from avi.gap.starts import STARTS, second_start
from avi.objectives.draws import draw_noise, draws_per_noise, noise_size
from avi.objectives.elbo import Elbo, Score
from avi.objectives.moment_matched import MomentMatched
from avi.problem import fit
from avi.randomness import Purpose, of_purpose
from avi.refine.ascent import Ascent
from avi.refine.certificate import BLOCKS, CONFIRMING_BLOCKS, Certificate, certify
from avi.refine.tails import unseen
from avi.settings import GapSettings
from avi.types import Estimate, Lam, Local, Params, PRNGKey, Psi, Scalar, Theta, X


class Shared(NamedTuple):
    """What all rows of a call share: arguments of the compiled function, not constants in it."""

    theta: Theta
    psi: Psi
    root: PRNGKey  # of the experiment's seed
    key: PRNGKey  # of the call; that of the seed where it has none

    def key_of(self, purpose: Purpose, number: Array) -> PRNGKey:
        """Return the key of one purpose and one row."""
        return jax.random.fold_in(of_purpose(self.root, purpose), number)


class Weights(NamedTuple):
    """What the importance weights p(x, z) / q(z; lam) of one row say."""

    khat: Scalar  # the Pareto shape of their tail
    log_mean: Scalar  # of them: estimates log p(x), from below, where the tail is light
    error: Scalar  # its standard error, by the delta method


class Compiled:
    """The compiled functions of one report. Keys fold in a purpose and the row's id: nothing else.

    `view` is the fixed one. All take arrays with one entry per lane; theta, psi and the seed are
    handed on here and nowhere else. Results are float64 on the host.
    """

    def __init__(
        self, experiment: Experiment, settings: GapSettings, params: Params, view: Callable[..., X]
    ) -> None:
        self.experiment = experiment
        root = jax.random.key(experiment.seed)
        self.shared = Shared(params.theta, params.psi, root, root)
        self.view = view
        self.family = experiment.problem.family
        self.refine = experiment.refine
        self.search_objective = self.elbo(settings.search_draws)
        # Of a mixture, each draw of the noise is one from every component.
        self.budget = settings.budget * draws_per_noise(self.family)
        self.pair_objective = self.elbo(2)
        exact = not isinstance(self.pair_objective, Drawn)
        self.num_pairs = 1 if exact else settings.num_draws // 2
        self.has_tails = not exact and isinstance(self.family, Noisy)  # which draws may not see
        self.certify_objective = (
            MomentMatched(block_size(noise_size(self.family)))
            if self.has_tails
            else self.search_objective
        )
        # The gradient of a score estimator's value is noise around 0, wherever lam is.
        self.certifies = not isinstance(self.certify_objective, Score)
        # The certificate of such a family leads to its best member from anywhere.
        self.knows_optimum = isinstance(self.family, Unrestricted)
        self.num_khat_pairs = settings.num_draws // 2
        self.width = settings.width
        self.lanes = self.width * placement.chosen().num_devices  # of one call, on all devices
        self.begin = self.over_rows(self._begin)
        self.advance = self.over_rows(self._advance)
        self.certify = self.over_rows(partial(self._certify, confirming=False))
        self.confirm = self.over_rows(partial(self._certify, confirming=True))
        self.values = self.over_rows(self._values, keyed=True)
        self.weigh = self.over_rows(self._weigh, keyed=True)
        self.unseen = self.over_rows(self._unseen)
        self.walk = self.over_rows(self._walk)
        self.observe = self.over_rows(self._observe)
        self._evidence_of: dict[Any, Callable[..., Estimate]] = {}
        self.starts = [self.over_rows(self._start_of(start)) for start in STARTS]
        self.second_start = self.over_rows(self._start_of(second_start))

    def over_rows(self, function: Callable[..., Any], *, keyed: bool = False) -> Callable[..., Any]:
        """Return `function` of what is shared and one row, over rows in lanes.

        `keyed`: the first argument of what is returned is the key of the call.
        """
        mapped = in_lanes(function, self.width)
        if keyed:
            return lambda key, *arrays: mapped(self.shared._replace(key=key), *arrays)
        return lambda *arrays: mapped(self.shared, *arrays)

    def elbo(self, num_draws: int) -> Any:
        """Return the ELBO's estimator for this model and family, whatever objective was trained."""
        model = self.experiment.problem.model
        return fit(Elbo(num_draws, antithetic=True), model, self.family)

    def local(self, shared: Shared, row: PyTree, number: Array, objective: Any) -> Local:
        """Return the variational problem of one recorded row."""
        x = self.view(row, number, jnp.zeros((), jnp.int32))
        local = self.experiment.problem.local(shared.theta, x, shared.psi)
        return local._replace(objective=objective)

    def _observe(self, shared: Shared, row: PyTree, number: Array) -> X:
        """Return the observation that a recorded row stands for."""
        del shared
        return self.view(row, number, jnp.zeros((), jnp.int32))

    def search_evaluations(self) -> int:
        """Return the gradient evaluations of one round of the local optimiser."""
        return self.refine.steps * self.search_objective.evaluations(self.family)

    def certify_evaluations(self, iterations: int, *, confirming: bool) -> int:
        """Return those of one certificate: a Hessian-vector product costs two."""
        each = self.certify_objective.evaluations(self.family)
        blocks = CONFIRMING_BLOCKS if confirming else BLOCKS
        return each * (2 * blocks + 2 * (iterations + 1))

    def _begin(self, shared: Shared, row: PyTree, number: Array, lam: Lam) -> PyTree:
        return self.refine.init(self.local(shared, row, number, self.search_objective), lam)

    def _advance(
        self, shared: Shared, row: PyTree, number: Array, start: Array, first: Array, state: PyTree
    ) -> tuple[PyTree, Lam]:
        """Take the K steps that begin at step `first` of the search from start number `start`."""
        local = self.local(shared, row, number, self.search_objective)
        key = jax.random.fold_in(shared.key_of("search", number), start)

        def body(state: PyTree, step: Array) -> tuple[PyTree, None]:
            return self.refine.step(local, state, jax.random.fold_in(key, step)), None

        state, _ = jax.lax.scan(body, state, first + jnp.arange(self.refine.steps))
        return state, self.refine.estimate(state)

    def _walk(
        self,
        shared: Shared,
        row: PyTree,
        number: Array,
        start: Array,
        first: Array,
        last: Array,
        state: PyTree,
    ) -> tuple[PyTree, Lam]:
        """Take the steps first..last-1 of a search: as `_advance`, but of any number.

        An optimiser that averages is averaged over these steps: begun anew at each doubling of the
        steps, they are the second half.
        """
        local = self.local(shared, row, number, self.search_objective)
        key = jax.random.fold_in(shared.key_of("search", number), start)

        averages = isinstance(self.refine, Ascent) and self.refine.average

        def body(step: Array, carry: tuple[PyTree, Lam]) -> tuple[PyTree, Lam]:
            state, reached = carry
            state = self.refine.step(local, state, jax.random.fold_in(key, step))
            return state, reached + state.lam if averages else self.refine.estimate(state)

        carry = (state, jnp.zeros_like(self.refine.estimate(state)))
        state, reached = jax.lax.fori_loop(first, last, body, carry)
        return state, reached / jnp.maximum(last - first, 1) if averages else reached

    def _certify(
        self,
        shared: Shared,
        row: PyTree,
        number: Array,
        start: Array,
        first: Array,
        lam: Lam,
        *,
        confirming: bool,
    ) -> Certificate:
        local = self.local(shared, row, number, self.certify_objective)
        key = jax.random.fold_in(shared.key_of("certificate", number), start)
        return certify(local, lam, jax.random.fold_in(key, first), confirming=confirming)

    def _values(self, shared: Shared, row: PyTree, number: Array, lam: Lam) -> Array:
        """Return the ELBO at lam on pairs of mirrored draws, the same for every lam of a row."""
        local = self.local(shared, row, number, self.pair_objective)
        keys = jax.random.split(jax.random.fold_in(shared.key, number), self.num_pairs)
        # Ten draws at a time: rows on the device stay between one and a few thousand.
        return jax.lax.map(lambda key: local.bound(lam, key).value, keys, batch_size=5)

    def _unseen(self, shared: Shared, row: PyTree, number: Array, lam: Lam) -> Scalar:
        """Return the nats of the ELBO at lam that lie where draws are too rare to be seen."""
        local = self.local(shared, row, number, self.pair_objective)
        return unseen(local, lam, shared.key_of("certificate", number)).value

    def _weigh(self, shared: Shared, row: PyTree, number: Array, lam: Lam) -> Weights:
        """Return what the weights p(x, z) / q(z; lam) of the draws that `_values` scores say."""
        log_weights = self.weighted(shared, row, number, lam)[1]
        log_mean, error, _ = mean_of_weights(log_weights)
        return Weights(pareto_khat(log_weights), log_mean, error)

    def weighted(self, shared: Shared, row: PyTree, number: Array, lam: Lam) -> tuple[Array, Array]:
        """Return draws z ~ q(z; lam), [S, ...], and log p(x, z) - log q(z; lam) of each, [S]."""
        local = self.local(shared, row, number, self.pair_objective)
        target, family = local.target, cast(Any, local.family)

        def one(z: Array, log_q: Scalar) -> tuple[Array, Scalar]:
            return z, target.model.log_joint(target.theta, target.x, z) - log_q

        def of_pair(pair_key: PRNGKey) -> tuple[Array, Array]:
            if not isinstance(family, Reparametrised):  # a mixture
                z = jax.vmap(lambda key: family.sample(lam, key))(jax.random.split(pair_key))
                return jax.vmap(lambda z: one(z, family.log_prob(lam, z)))(z)
            noise = draw_noise(family, pair_key, 2, antithetic=True)
            return jax.vmap(lambda eps: one(*draw_and_log_prob(family, lam, eps)))(noise)

        keys = jax.random.split(jax.random.fold_in(shared.key, number), self.num_khat_pairs)
        z, log_weights = jax.lax.map(of_pair, keys, batch_size=5)
        return z.reshape(-1, *z.shape[2:]), log_weights.ravel()

    def evidence_of(self, evidence: Any) -> Callable[..., Estimate]:
        """Return the mapped estimator, compiled once for each."""
        if evidence not in self._evidence_of:

            def one(shared: Shared, row: PyTree, number: Array, lam: Lam) -> Estimate:
                target, family, _ = self.local(shared, row, number, self.pair_objective)
                return evidence(target, family, lam, shared.key_of("evidence", number))

            self._evidence_of[evidence] = self.over_rows(one)
        return self._evidence_of[evidence]

    def _start_of(self, start: Callable[..., Lam]) -> Callable[..., Lam]:
        def one(shared: Shared, row: PyTree, number: Array) -> Lam:
            target, family, _ = self.local(shared, row, number, self.search_objective)
            return start(target, family, shared.key_of("audit", number))

        return one


def block_size(noise_size: int) -> int:
    """Return S of one block of moment-matched draws: at least 64, and more than their entries."""
    return max(64, -(-(noise_size + 14) // 16) * 16)
