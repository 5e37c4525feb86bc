"""One training step: the gradient of a batch, two optimisers, the rows of phi."""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PyTree

from avi.abilities import SharedWeights
from avi.engine.feed import batch
from avi.phi import bind
from avi.problem import Problem
from avi.types import Bound, Params, PRNGKey, Scalar, X


class TrainState(NamedTuple):
    """What the next step needs, and nothing else."""

    step: Int[Array, ""]
    params: Params
    opt_state: Params


class StepMetrics(NamedTuple):
    """What a person wants to know of one step; the objective is `value` and `prior` together."""

    value: Scalar  # mean bound over the batch, nats
    variance: Scalar  # of the bound over the batch
    prior: Scalar  # what theta adds to the objective, nats per datapoint
    finite: Bool[Array, ""]


View = Callable[[PyTree, Array, Array], X]
Step = Callable[..., tuple[TrainState, StepMetrics]]


def make_optimizers(problem: Problem, optimizers: Params) -> Params:
    """Return the optax transformations of the step; that of phi goes row by row if phi has rows."""
    of_phi = bind(optimizers.phi, problem.family)
    theta = optax.with_extra_args_support(bind(optimizers.theta, problem.family))
    weighted = isinstance(problem.family, SharedWeights)
    return Params(theta, problem.phi_rows.each(of_phi), of_phi if weighted else optax.identity())


def init_state(problem: Problem, optimizers: Params, params: Params) -> TrainState:
    """Return the state before the first step."""
    transforms = make_optimizers(problem, optimizers)
    opt_state = Params(*(one.init(of) for one, of in zip(transforms, params, strict=True)))
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state)


def make_step(problem: Problem, optimizers: Params, view: View, num_data: int) -> Step:
    """Return the function from (state, rows, index of B rows, key, slots) to (state, metrics).

    `data` is what a feed has for this step; it is an argument because an array closed over would be
    compiled in. `slots` is how wide rows of different lengths are padded, None where all have one
    length. Randomness is a function of `key`, the step and the row's id.
    """
    rows = problem.phi_rows
    transforms = make_optimizers(problem, optimizers)

    def loss(
        params: Params, x: X, keys: PRNGKey, step: Scalar
    ) -> tuple[Array, tuple[Bound, Scalar]]:
        bounds = problem.bounds(params, x, keys, step)
        # The prior of theta counts once per data set, a bound once per datapoint.
        prior = problem.model.log_prior(params.theta) / num_data
        return -(bounds.surrogate.mean() + prior), (bounds, prior)

    def step(
        state: TrainState, data: PyTree, index: Array, key: PRNGKey, slots: int | None = None
    ) -> tuple[TrainState, StepMetrics]:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, state.step), index)
        rows_seen = batch(data, index, state.step, slots)
        x = jax.vmap(view, (0, 0, None))(rows_seen, index, state.step)
        params = state.params._replace(phi=rows.take(state.params.phi, index))
        climb = jax.value_and_grad(loss, has_aux=True)
        (_, (bounds, prior)), gradients = climb(params, x, keys, state.step)

        theta_update, theta_opt = transforms.theta.update(
            gradients.theta,
            state.opt_state.theta,
            params.theta,
            num_data=num_data,
            batch_size=index.size,
            model=problem.model,
            x=x,
        )
        phi_update, phi_opt = transforms.phi.update(
            rows.rescale(gradients.phi, index.size),
            rows.take(state.opt_state.phi, index),
            params.phi,
        )
        psi_update, psi_opt = transforms.psi.update(gradients.psi, state.opt_state.psi, params.psi)
        theta = optax.apply_updates(params.theta, theta_update)
        phi = optax.apply_updates(params.phi, phi_update)
        psi = optax.apply_updates(params.psi, psi_update)
        new_state = TrainState(
            state.step + 1,
            Params(theta, rows.put(state.params.phi, index, phi), psi),
            Params(theta_opt, rows.put(state.opt_state.phi, index, phi_opt), psi_opt),
        )
        mean, variance = bounds.value.mean(), bounds.value.var()
        return new_state, StepMetrics(
            mean, variance, prior, _all_finite((bounds, prior, variance, gradients))
        )

    return step


def _all_finite(tree: PyTree) -> Array:
    with jax.named_scope("finite"):
        return jnp.stack([_finite(leaf) for leaf in jax.tree.leaves(tree)]).all()


def _finite(leaf: Array) -> Array:
    if leaf.ndim > 1:
        # Column sums as a product: cheaper than looking at each number. Finite numbers
        # whose sum overflows count as not finite.
        leaf = jnp.ones(len(leaf), leaf.dtype) @ leaf.reshape(len(leaf), prod(leaf.shape[1:]))
    return jnp.isfinite(leaf).all()
