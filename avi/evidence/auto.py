"""The first estimator of log p(x) that the model and the family allow."""

from dataclasses import dataclass

from avi.abilities import first_that_fits
from avi.errors import ConfigError
from avi.types import Evidence, Family, Model


@dataclass(frozen=True)
class FirstThatFits:
    """Stands for the first of `candidates` whose needs are met."""

    candidates: tuple[Evidence, ...]

    def choose(self, model: Model, family: Family) -> Evidence:
        """Return the estimator.

        Raises:
            ConfigError: if none fits; list `none` last to allow that.
        """
        chosen: Evidence | None = first_that_fits(self.candidates, model, family)
        if chosen is None:
            raise ConfigError(
                "no evidence estimator fits this model and family. Try evidence=none."
            )
        return chosen
