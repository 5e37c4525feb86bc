"""The first estimator of log p(x) that the model and the family allow."""

from dataclasses import dataclass

from avi.abilities import Chooser, missing
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
        for candidate in self.candidates:
            try:
                chosen = (
                    candidate.choose(model, family) if isinstance(candidate, Chooser) else candidate
                )
            except ConfigError:
                continue
            if not missing(chosen, model, family):
                return chosen
        raise ConfigError("no evidence estimator fits this model and family. Try evidence=none.")
