"""The training loop: one step, and chunks of one jitted loop over steps."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from avi.engine.buckets import Buckets, by_length, make_buckets
from avi.engine.devices import for_products
from avi.engine.feed import make_feed
from avi.engine.placement import ONE, Placement, chosen
from avi.engine.short_products import share_products
from avi.engine.step import Step, StepMetrics, TrainState, View, make_step
from avi.problem import Problem
from avi.types import Params, PRNGKey

TRIED_TWICE = 2  # steps that tell whether the machine repeats bits
LARGEST_COPY = 2**28  # bytes of a state that is copied for it
SECONDS_PER_CHUNK = 1.0  # on the device between two looks at the host: signals wait no longer


class Layout(NamedTuple):
    """Where the arrays of a run of steps are."""

    placement: Placement = ONE
    state: Any = None  # of each part of the state
    data: Any = None  # of what a feed gives


class Chunk(NamedTuple):
    """The state after some steps and what happened in them."""

    state: TrainState  # on the devices; `Loop.whole` has it as it was handed in
    first_step: int
    value: Float[np.ndarray, " n"]  # mean bound of each step's batch, nats per datapoint
    variance: Float[np.ndarray, " n"]  # of the bounds within each batch
    prior: Float[np.ndarray, " n"]  # what theta adds to the objective of each step
    finite: bool  # False: the last of these steps met a number that is not finite
    seconds: float


@partial(jax.jit, static_argnames=("num_data", "batch_size"))
def epoch_order(
    key: PRNGKey, epoch: int, num_data: int, batch_size: int, buckets: Buckets | None = None
) -> Int[Array, " n"]:
    """Return the rows of one epoch in order: a permutation less an incomplete last batch.

    With buckets, each batch holds rows of one bucket, and a row is as likely as any other to be in
    the batch of a step.
    """
    epoch_key = jax.random.fold_in(key, epoch)
    order = jax.random.permutation(epoch_key, num_data)[: num_data // batch_size * batch_size]
    if buckets is None:
        return order
    return by_length(jax.random.fold_in(epoch_key, 1), order, buckets, batch_size)


def make_run(
    step: Step,
    steps_per_epoch: int,
    batch_size: int,
    buckets: Buckets | None = None,
    layout: "Layout | None" = None,
) -> Any:
    """Return the jitted loop `run(state, data, order, stop, key)`.

    It returns (state, value, variance, prior, finite), and ends at step `stop` or at the first that
    is not finite. `stop` and `key` are arguments: one compilation serves chunks of any length and
    every seed. `layout` says where its arrays are; without one, on one device.
    """
    placement, of_state, of_data = Layout() if layout is None else layout
    step = step if buckets is None else _narrowest(step, buckets)

    def run(state: TrainState, data: PyTree, order: Array, stop: Array, key: PRNGKey) -> tuple:
        def unfinished(carry: tuple) -> Array:
            state, *_, finite = carry
            return finite & (state.step < stop)

        def body(carry: tuple) -> tuple:
            state, *records, _ = carry
            number = state.step % steps_per_epoch
            index = jax.lax.dynamic_slice(order, (number * batch_size,), (batch_size,))
            index = placement.kept(index, placement.cut)
            state, metrics = step(state, data, index, key)
            state = placement.kept(state, of_state)
            found = metrics.value, metrics.variance, metrics.prior
            records = [
                record.at[number].set(one) for record, one in zip(records, found, strict=True)
            ]
            return state, *records, metrics.finite

        record = jnp.zeros(steps_per_epoch)
        begun = (state, record, record, record, jnp.array(True))
        return jax.lax.while_loop(unfinished, body, begun)

    if placement.mesh is None:
        run = share_products(run)
    copied = placement.copied
    where = placement.options(
        (of_state, of_data, copied, copied, copied), (of_state, copied, copied, copied, copied)
    )
    return jax.jit(run, donate_argnums=0, compiler_options=for_products(), **where)


def _of_parts(whole: Any, rows: Any) -> TrainState:
    """Return what holds for each part of the state, `rows` for phi and its optimiser."""
    return TrainState(whole, Params(whole, rows, whole), Params(whole, rows, whole))


def _narrowest(step: Step, buckets: Buckets) -> Step:
    """Return the step that pads a batch no further than its bucket needs."""
    widths = jnp.asarray(buckets.widths)

    def padded(slots: int) -> Step:
        return lambda state, data, index, key: step(state, data, index, key, slots)

    branches = [padded(slots) for slots in buckets.widths]

    def chosen(
        state: TrainState, data: PyTree, index: Array, key: PRNGKey
    ) -> tuple[TrainState, StepMetrics]:
        longest = buckets.lengths[index].max()
        return jax.lax.switch(jnp.searchsorted(widths, longest), branches, state, data, index, key)

    return chosen


class Loop:
    """The steps of training on the rows of the host, compiled once, with `fit` or before it.

    A chunk ends at a multiple of `log_every` within its epoch or at the epoch's end, and lasts
    about a second; how the steps are cut into chunks changes no number, nor does it whether the
    rows fit into `device_budget` bytes of the device. Several devices share the rows of each step:
    the same steps but for the last bits of sums.
    """

    def __init__(
        self,
        problem: Problem,
        optimizers: Params,
        view: View,
        data: PyTree,
        key: PRNGKey,
        *,
        batch_size: int,
        log_every: int,
        device_budget: float = math.inf,
    ) -> None:
        """Place the rows.

        Raises:
            ConfigError: `device_budget` does not hold the rows of two chunks.
        """
        num_data = len(jax.tree.leaves(data)[0])
        self.steps_per_epoch, self.log_every = num_data // batch_size, log_every
        self.batch_size = batch_size
        self._step_key, order_key = jax.random.split(key)
        step = make_step(problem, optimizers, view, num_data)
        buckets = make_buckets(data, batch_size)
        self.placement = chosen()
        self._table, self._num_data = problem.inference.per_datapoint, num_data
        self._compiled: Any = None
        self.compile_seconds = 0.0

        @lru_cache(maxsize=2)
        def order_of(epoch: int) -> Array:
            return epoch_order(order_key, epoch, num_data, batch_size, buckets)

        self.order_of = order_of
        self._feed = make_feed(
            data,
            order_of,
            batch_size=batch_size,
            log_every=log_every,
            device_budget=device_budget,
            placement=self.placement,
        )
        of_rows = self.placement.cut if self._table else self.placement.copied
        self._of_state = _of_parts(self.placement.copied, of_rows)
        layout = Layout(self.placement, self._of_state, self._feed.where)
        self._run = make_run(step, self.steps_per_epoch, batch_size, buckets, layout)
        self._order_shape = jax.eval_shape(
            lambda: epoch_order(order_key, 0, num_data, batch_size, buckets)
        )

    def rows_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a step and the data of its key; both empty before the first step."""
        if step < 0:
            return np.zeros(0, int), np.zeros(0, np.uint32)
        epoch, number = divmod(step, self.steps_per_epoch)
        own = slice(number * self.batch_size, (number + 1) * self.batch_size)
        key = jax.random.fold_in(self._step_key, step)
        return np.asarray(self.order_of(epoch))[own], np.asarray(jax.random.key_data(key))

    def compile(self, state: PyTree, first_step: int = 0) -> None:
        """Compile for a state of this shape; no step is taken."""
        before = perf_counter()
        rows, state = self._feed.at(first_step), self._padded(state)
        lowered = self._run.lower(state, rows, self._order_shape, np.int32(0), self._step_key)
        self._compiled = lowered.compile()
        self.compile_seconds = perf_counter() - before

    def repeats(self, state: TrainState) -> bool | None:
        """Return whether the first steps give the same bits twice, None of too large a state."""
        if sum(leaf.nbytes for leaf in jax.tree.leaves(state)) > LARGEST_COPY:
            return None
        first = int(state.step)
        until = np.int32(first + min(TRIED_TWICE, self.steps_per_epoch))
        rows, order = self._feed.at(first), self.order_of(first // self.steps_per_epoch)
        ends = []
        for _ in range(2):
            copy = self._placed(jax.tree.map(jnp.copy, state))
            end = self._compiled(copy, rows, order, until, self._step_key)
            ends.append([np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(end)])
        return ends[0] == ends[1]

    def whole(self, state: TrainState) -> TrainState:
        """Return a state of `fit` as it would be on one device: on the host if there are more."""
        if self.placement.mesh is None:
            return state
        state = jax.device_get(state)
        return self._with_rows(state, lambda rows: rows[: self._num_data])

    def _placed(self, state: TrainState) -> TrainState:
        if self.placement.mesh is None:
            return state
        return self.placement.put(self._padded(state), self._of_state)

    def _padded(self, state: TrainState) -> TrainState:
        """Return the state, or its shapes, with rows for all devices."""
        return self._with_rows(state, self.placement.padded)

    def _with_rows(self, state: TrainState, change: Callable[[PyTree], PyTree]) -> TrainState:
        """Return the state with its tables changed, if the mode has such."""
        if not self._table:
            return state
        phi, opt_phi = (jax.tree.map(change, part.phi) for part in (state.params, state.opt_state))
        return TrainState(
            state.step, state.params._replace(phi=phi), state.opt_state._replace(phi=opt_phi)
        )

    def fit(self, state: TrainState, num_steps: int) -> Iterator[Chunk]:
        """Yield chunks of training from `state` up to step `num_steps`.

        The yielded state is donated to the next chunk: copy what must outlive it.
        """
        first, length = int(state.step), self.log_every
        if self._compiled is None and first < num_steps:
            self.compile(state, first)
        state = self._placed(state)
        while first < num_steps:
            epoch, number = divmod(first, self.steps_per_epoch)
            epoch_end = (epoch + 1) * self.steps_per_epoch
            ends = epoch_end, first + length, self._feed.stop(first), num_steps
            until = np.int32(min(end for end in ends if end is not None))
            rows, order = self._feed.at(first), self.order_of(epoch)
            if until < num_steps:
                # Ahead of the steps in the device's queue.
                self.order_of(int(until) // self.steps_per_epoch)
            started = perf_counter()
            key = self._step_key
            state, *records, finite = self._compiled(state, rows, order, until, key)
            if until < num_steps:
                self._feed.prefetch(int(until))
            reached = int(state.step)
            seconds = perf_counter() - started
            window = slice(number, number + reached - first)
            value, variance, prior = (np.asarray(record)[window] for record in records)
            yield Chunk(state, first, value, variance, prior, bool(finite), seconds)
            if not finite:
                return
            per_second = SECONDS_PER_CHUNK / seconds * (reached - first)
            windows = max(1, int(per_second / self.log_every))
            length = min(windows, 2 * -(-length // self.log_every)) * self.log_every
            first = reached
