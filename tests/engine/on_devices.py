"""Runs on four virtual devices, in a process of its own; what it finds is printed as JSON.

XLA_FLAGS=--xla_force_host_platform_device_count=4 python on_devices.py
"""

import json
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from conjugate import test_steps as conjugate
from conjugate.corpora import view as documents_view
from engine import test_step as plain

from avi.engine import placement
from avi.engine.evaluator import Evaluator
from avi.engine.loop import Loop
from avi.inference.free_form import FreeForm
from avi.inference.hypernetwork import Hypernetwork
from avi.inference.iterative import Iterative
from avi.networks.mlp import MLP
from avi.optimizers.natural_gradient import NaturalGradient
from avi.optimizers.robbins_monro import RobbinsMonro
from avi.population import Points
from avi.rundir.trees import flatten_tree, unflatten_like
from avi.settings import MeshSettings
from avi.types import Params

N, BATCH, STEPS = 41, 10, 200  # neither number of rows divides by the number of devices
ADAM = Params(optax.adam(0.01), optax.adam(0.01))
MODES = plain.MODES | {
    "iterative": Iterative(plain.MODES["amortized"], MLP((4,), "tanh", 0.0), 2),
    "hypernetwork": Hypernetwork(plain.NETWORK, MLP((4,), "tanh", 0.0), 4, 0.1),
}
CASES = (*MODES, "cavi", "free_form, streamed", "documents")
WHOLE_ROWS = NaturalGradient(rate=1.0, delay=1.0, decay=0.0)
GOES_ON = ("free_form", "amortized")
STREAMED = 2 * BATCH * plain.SIZE * 8  # bytes: of two steps


class Case(NamedTuple):
    """What is trained."""

    problem: Any
    optimizers: Params
    view: Any
    rows: Any
    state: Any
    batch_size: int = BATCH
    device_budget: float = 1e9


def case_of(mode: str) -> Case:
    """Return a linear-Gaussian model under a mode, or what its name says."""
    if mode == "cavi":
        rows = conjugate.rows_of(conjugate.MIXTURE, N)
        inference, theta = FreeForm(conjugate.SEARCH), RobbinsMonro(0.0, 0.0, 2)
        made = conjugate.start(conjugate.MIXTURE, rows, inference, theta, WHOLE_ROWS)
        return Case(*made[:2], conjugate.view_of(conjugate.MIXTURE), rows, made[2], N)
    if mode == "documents":
        rows = conjugate.rows_of(conjugate.TOPICS, N)
        theta = RobbinsMonro(0.7, 1.0, 1)
        made = conjugate.start(conjugate.TOPICS, rows, conjugate.SVI, theta)
        return Case(*made[:2], documents_view, rows, made[2])
    name, _, streamed = mode.partition(", ")
    problem = plain.problem_of("free_form")
    problem = type(problem)(problem.model, problem.family, MODES[name], problem.objective)
    state = plain.start_of(problem, ADAM, N)
    budget = STREAMED if streamed else 1e9
    return Case(problem, ADAM, plain.view, np.asarray(plain.rows(N)), state, BATCH, budget)


def loop_of(case: Case, number: int) -> Loop:
    """Return the loop of a case on so many devices."""
    placement.choose(MeshSettings(number))
    return Loop(
        case.problem,
        case.optimizers,
        case.view,
        case.rows,
        plain.KEY,
        batch_size=case.batch_size,
        log_every=1,
        device_budget=case.device_budget / number,
    )


def trained(case: Case, number: int, state: Any, until: int) -> Any:
    """Return the state that a checkpoint would hold after training on so many devices."""
    loop = loop_of(case, number)
    *_, last = loop.fit(jax.tree.map(jnp.array, state), until)
    return loop.whole(last.state)


def farthest(mode: str) -> float:
    """Return how far four devices end from one; `GOES_ON` from a checkpoint, on two."""
    case = case_of(mode)
    alone = flatten_tree(trained(case, 1, case.state, STEPS))
    if mode in GOES_ON:
        saved = flatten_tree(trained(case, 4, case.state, STEPS // 2))
        found = flatten_tree(trained(case, 2, unflatten_like(case.state, saved), STEPS))
    else:
        found = flatten_tree(trained(case, 4, case.state, STEPS))
    assert apart(alone, flatten_tree(case.state)) > 0.1  # it has moved
    return apart(alone, found)


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Return the largest difference of parameters and optimiser states of the same shapes."""
    assert {name: leaf.shape for name, leaf in one.items()} == {
        name: leaf.shape for name, leaf in other.items()
    }
    of_state = [name for name in one if name.startswith((".params", ".opt_state"))]
    return float(max(np.abs(one[name] - other[name]).max(initial=0.0) for name in of_state))


def communicated(mode: str, rows: int) -> int:
    """Return the largest number of rows that devices exchange in a step."""
    case = case_of(mode)
    state = plain.start_of(case.problem, ADAM, rows)
    loop = loop_of(case._replace(rows=np.asarray(plain.rows(rows))), 4)
    loop.compile(state)
    found = re.findall(r"= (.*?) (?:all-|reduce-|collective)[\w-]*\(", loop._compiled.as_text())
    assert found
    return max(int(size) for size in re.findall(r"\[(\d+)", " ".join(found)))


def parts() -> list[int]:
    """Return the rows that each device has: of the table, of its optimiser, of the data."""
    loop = loop_of(case_of("free_form"), 4)
    *_, last = loop.fit(case_of("free_form").state, 1)
    table, moments = last.state.params.phi, jax.tree.leaves(last.state.opt_state.phi)[0]
    arrays = (table, moments, jax.tree.leaves(loop._feed.at(0))[0])
    return [leaf.addressable_shards[0].data.shape[0] for leaf in arrays]


def bits_that_differ() -> int:
    """Return how many bounds and lams of rows are not the same to the bit on four devices."""
    case, found = case_of("svi"), []
    state = trained(case, 1, case.state, 20)
    points = Points(case.rows, np.arange(N))
    for number in (1, 4):
        placement.choose(MeshSettings(number))
        evaluator = Evaluator(case.problem, case.view, N, 4)
        lams = evaluator.lams(state.params, points, plain.KEY, width=4)
        found.append(np.column_stack([lams, evaluator.bounds(state.params, points, plain.KEY)]))
    return int((found[0] != found[1]).sum())


if __name__ == "__main__":
    told: dict[str, Any] = {"bits": bits_that_differ()}
    with jax.enable_x64(True):
        told |= {"parts": parts(), "communicated": communicated("free_form", 4001)}
        told |= {name: farthest(name) for name in CASES}
    print(json.dumps(told))
