"""What a data set must fulfil: rows of one kind, and a view that is a function of its arguments."""

from collections.abc import Iterator
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avi.contracts.claims import Claim
from avi.datasets.base import splits_sha256
from avi.experiment import HOLDS
from avi.process.grammar import many
from avi.settings import SPLITS
from avi.types import Dataset, X

ROWS = 64  # that are viewed


def claims(dataset: Dataset) -> Iterator[Claim]:
    """Yield what holds of a data set's rows and of its view."""
    splits = dataset.load()
    rows = {split: getattr(splits, split) for split in SPLITS}
    sizes: dict[str, int] = {split: len(jax.tree.leaves(part)[0]) for split, part in rows.items()}
    yield Claim("there are training rows", sizes["train"] >= 1, f"{sizes['train']}")
    kinds = {split: _kind(part) for split, part in rows.items() if sizes[split]}
    same = len(set(map(str, kinds.values()))) == 1
    yield Claim("splits are of one structure, shape and dtype", same, f"{kinds['train']}")
    again = dataset.load()
    yield Claim(
        "loading again gives the same rows",
        splits_sha256(splits) == splits_sha256(again),
        f"{sum(sizes.values())} rows",
    )
    for split, labels in (splits.labels or {}).items():
        fits = len(labels) == sizes[split]
        yield Claim(f"{split} has a label for each row", fits, f"{len(labels)}")
    if splits.origin.rows is not None:
        places = np.asarray(splits.origin.rows)
        fits = len(np.unique(places)) == len(places) >= sum(sizes.values())
        yield Claim("each row has one place in the user's file", fits, f"{len(places)}")
    yield from _of_view(dataset, rows["train"], min(ROWS, sizes["train"]))


def _of_view(dataset: Dataset, rows: Any, number: int) -> Iterator[Claim]:
    first = jax.tree.map(lambda leaf: leaf[np.arange(number)], rows)
    ids = jnp.arange(number, dtype=jnp.int32)

    def seen(dataset: Dataset, visit: int) -> X:
        look = jax.jit(jax.vmap(dataset.view, in_axes=(0, 0, None)))
        return look(first, ids, jnp.int32(visit))

    once = seen(dataset, 0)
    yield Claim("a view is a function of row, id and visit", _equal(once, seen(dataset, 0)), "")
    moved = not _equal(once, seen(dataset, 1))
    yield Claim(
        "a row looks the same at every visit, unless redraws says otherwise",
        dataset.redraws or not moved,
        f"redraws = {dataset.redraws}",
    )
    still = dataset.fixed()
    steady = not still.redraws and _equal(seen(still, 0), seen(still, 1))
    yield Claim("fixed() is not redrawn", steady, f"redraws = {still.redraws}")
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(once))
    yield Claim("what is scored is finite", finite, many(number, "row"))
    known = dataset.support in HOLDS
    yield Claim("support is one that avi knows", known, f"{dataset.support!r}")
    inside = {
        "binary": lambda x: (x == 0) | (x == 1),
        "unit": lambda x: (x >= 0) & (x <= 1),
        "count": lambda x: (x >= 0) & (x == np.floor(x)),
        "positive": lambda x: x > 0,
    }.get(dataset.support)
    if inside and hasattr(once, "shape"):
        outside = int((~inside(np.asarray(once))).sum())
        yield Claim("values lie in the support", outside == 0, f"{outside} outside")
    if dataset.image_shape is not None and hasattr(once, "shape"):
        size = prod(once.shape[1:])
        fits = prod(dataset.image_shape) == size
        yield Claim("image_shape has the size of x", fits, f"{dataset.image_shape} for {size}")


def _kind(rows: Any) -> Any:
    return jax.tree.map(lambda leaf: (str(leaf.dtype), *leaf.shape[1:]), rows)


def _equal(left: Any, right: Any) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
