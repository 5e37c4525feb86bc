"""A prior that is learned: the member of any family."""

from dataclasses import dataclass
from typing import Any, ClassVar

from avi.abilities import KnownDensity, SharedWeights, given
from avi.types import Family, PRNGKey, Scalar, Z


@dataclass(frozen=True)
class Learned:
    """p(z) is one q(z; lam) of `family`, whose lam, and weights psi if it has any, are of theta.

    With a mixture this is the multimodal prior of Dilokthanakul et al. (2016), with a flow that of
    Chen et al. (2017), section 3.2. The member that it starts from is the family's standard one.
    """

    family: Family
    standard: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.family, KnownDensity):
            raise ValueError("a prior needs a family with a density. Try model.prior=flow.")

    def init(self, key: PRNGKey) -> dict[str, Any]:
        """Return lam, and psi where the family has weights."""
        params: dict[str, Any] = {"lam": self.family.init()}
        if isinstance(self.family, SharedWeights):
            params["psi"] = self.family.init_psi(key)
        return params

    def log_prob(self, params: dict[str, Any], z: Z) -> Scalar:
        """Return log p(z) in nats."""
        value: Scalar = self._at(params).log_prob(params["lam"], z)
        return value

    def sample(self, params: dict[str, Any], key: PRNGKey, size: int) -> Z:
        """Draw z."""
        del size
        z: Z = self._at(params).sample(params["lam"], key)
        return z

    def _at(self, params: dict[str, Any]) -> Any:
        return given(self.family, params.get("psi", ()))
