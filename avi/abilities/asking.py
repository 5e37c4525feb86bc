"""What an ability is, and how a component asks a pair of model and family for it."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from avi.types import Family, Model

Pair = Callable[[Model, Family], bool]


class Ability(NamedTuple):
    """What a person reads of an ability, and which pairs of those that have its methods have it."""

    words: str  # after "needs": a model with ..., a family with ...
    instead: str  # what to type where it is missing
    where: Pair


ABILITIES: dict[type, Ability] = {}


def _everywhere(model: Model, family: Family) -> bool:
    del model, family
    return True


def ability(words: str, *, instead: str = "", where: Pair = _everywhere) -> Callable[[type], type]:
    """Return the decorator that keeps these words with a protocol."""

    def keep(protocol: type) -> type:
        ABILITIES[protocol] = Ability(words, instead, where)
        return protocol

    return keep


def explained(need: type) -> Ability:
    """Return what is known of an ability; of one without the decorator its name."""
    return ABILITIES.get(need, Ability(f"the ability {need.__name__}", "", _everywhere))


def offers(need: type, model: Model, family: Family) -> bool:
    """Whether the model or the family has this ability, in this pair."""
    has_methods = isinstance(model, need) or isinstance(family, need)
    return has_methods and explained(need).where(model, family)


def missing(component: Any, model: Model, family: Family) -> list[type]:
    """Return the abilities that `component` needs and the pair does not offer."""
    return [need for need in component.needs if not offers(need, model, family)]


def first_that_fits(candidates: Iterable[Any], model: Model, family: Family) -> Any:
    """Return the first of the components whose needs the pair meets, None if there is none."""
    return next((one for one in candidates if not missing(one, model, family)), None)
