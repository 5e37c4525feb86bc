"""The contract of a kind, tried on the components that words of a command line name."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from avi.config.build import load_dataset
from avi.config.schema import build
from avi.contracts import dataset, family, likelihood, model, objective
from avi.contracts.claims import Claim
from avi.run.session import open_session


def _of_model(tree: Mapping[str, Any]) -> Iterator[Claim]:
    session = open_session(tree)
    problem = session.experiment.problem
    return model.claims(problem.model, problem.family, session.spec)


# Group -> its claims, from a whole tree of `avi train`; a model is tried on the tree's data.
CONTRACTS: dict[str, Callable[[Mapping[str, Any]], Iterator[Claim]]] = {
    "model": _of_model,
    "family": lambda tree: family.claims(build(tree["family"], "family")),
    "likelihood": lambda tree: likelihood.claims(build(tree["likelihood"], "likelihood")),
    "objective": lambda tree: objective.claims(build(tree["objective"], "objective")),
    "dataset": lambda tree: dataset.claims(load_dataset(tree)),
}


def name_of(group: str, tree: Mapping[str, Any]) -> str:
    """Return the class of the component of a group."""
    return str(tree[group]["_target_"]).rpartition(".")[2]
