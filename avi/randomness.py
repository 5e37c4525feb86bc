"""One integer seed; every key is a function of it, of a purpose and of a step or a row's id."""

from typing import Literal

import jax

from avi.threefry import UNROLLED
from avi.types import PRNGKey

Purpose = Literal[
    "init",
    "train",
    "evaluate",
    "infer",
    "search",
    "certificate",
    "select",
    "score",
    "evidence",
    "figures",
    "audit",
    "simulate",
]
# The numbers are part of every recorded result: append, never reorder.
PURPOSES: tuple[Purpose, ...] = (
    "init",
    "train",
    "evaluate",
    "infer",
    "search",
    "certificate",
    "select",
    "score",
    "evidence",
    "figures",
    "audit",
    "simulate",
)


def key_for(seed: int, purpose: Purpose) -> PRNGKey:
    """Return the root key of one purpose."""
    # Unrolled keys give the same numbers: their steps are faster, but they take longer to compile.
    impl = UNROLLED if purpose == "train" else "threefry2x32"
    return jax.random.fold_in(jax.random.key(seed, impl=impl), PURPOSES.index(purpose))
