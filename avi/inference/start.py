"""The mode that knows nothing of x."""

from dataclasses import dataclass
from typing import ClassVar

from avi.types import Family, Lam, Local, Phi, PRNGKey, X


@dataclass(frozen=True)
class Start:
    """lam is the family's standard member for every x; there is nothing to train."""

    needs: ClassVar[tuple[type, ...]] = ()
    per_datapoint: ClassVar[bool] = False

    def init(self, key: PRNGKey, family: Family, x: X, num_data: int) -> Phi:
        """Return an empty phi."""
        del key, family, x, num_data
        return {}

    def infer(self, phi: Phi, x: X, key: PRNGKey, local: Local) -> Lam:
        """Return the family's start."""
        del phi, x, key
        return local.family.init()

    def unseen(self) -> "Start":
        """Return itself."""
        return self

    def inner_calls(self) -> int:
        """Return 0."""
        return 0
