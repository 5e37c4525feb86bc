"""Optimisers of lam that know its family."""

from typing import Any

import optax

from avi.types import Bindable, Family


def bind(optimizer: Any, family: Family) -> optax.GradientTransformation:
    """Return `optimizer` as an optax transformation of this family's lam."""
    return optimizer.bind(family) if isinstance(optimizer, Bindable) else optimizer
