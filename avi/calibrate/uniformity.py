"""Are ranks uniform? An exact test by their cumulative counts, and the band that it draws."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

ROUNDING = 1e-9  # relative: tails that mirror each other are equal
NEGLIGIBLE = 1e-20  # probability of so many rows with one and the same rank
HALVINGS = 40  # of the level between 0 and 1


class Band(NamedTuple):
    """Where the cumulative counts of uniform ranks stay, all at once."""

    low: Int[np.ndarray, " draws"]  # of rows whose rank is at most 0, 1, ..., draws - 1
    high: Int[np.ndarray, " draws"]
    failure_rate: float  # probability that uniform ranks leave it


@dataclass(frozen=True)
class Uniformity:
    """The test that `number` independent ranks are uniform on 0, ..., draws.

    The number of ranks at most k is binomial. Its smallest two-sided tail over all k is the
    statistic of Säilynoja, Bürkner & Vehtari (2022); its law is not simulated but computed:
    independent Poisson counts of the ranks, given their sum, are the multinomial ones, so that the
    probability of staying within limits at every k is one convolution per k.
    """

    number: int  # N
    draws: int  # L

    def p_value(self, ranks: Int[np.ndarray, " N"]) -> float:
        """Return how probable uniform ranks are to look as uneven as these, or more."""
        counts = np.bincount(ranks, minlength=self.draws + 1).cumsum()[: self.draws]
        smallest = self._tails[np.arange(self.draws), counts].min()
        return self._leaves(self._tails > smallest * (1 + ROUNDING))

    def band(self, failure_rate: float) -> Band:
        """Return the narrowest band that uniform ranks leave with at most this probability.

        Ranks leave it exactly where their p-value is at most `failure_rate`.
        """
        level, above = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (level + above) / 2
            if self._leaves(self._tails > middle) <= failure_rate:
                level = middle
            else:
                above = middle
        inside = self._tails > level
        high = self.number - inside[:, ::-1].argmax(axis=1)
        return Band(inside.argmax(axis=1), high, self._leaves(inside))

    @cached_property
    def _tails(self) -> Float[np.ndarray, "L counts"]:
        """Two-sided tails of every cumulative count."""
        share = np.arange(1, self.draws + 1)[:, None] / (self.draws + 1)
        law = stats.binom(self.number, share)
        counts = np.arange(self.number + 1)
        return np.minimum(1.0, 2 * np.minimum(law.cdf(counts), law.sf(counts - 1)))

    def _leaves(self, inside: Bool[np.ndarray, "L counts"]) -> float:
        """Return the probability that the cumulative counts are anywhere not `inside`."""
        steps = stats.poisson.pmf(np.arange(self.number + 1), self.number / (self.draws + 1))
        steps = steps[: np.flatnonzero(steps > NEGLIGIBLE)[-1] + 1]
        reached = np.zeros(self.number + 1)
        reached[0] = 1.0
        for allowed in inside:
            reached = np.convolve(reached, steps)[: self.number + 1] * allowed
        stays = np.convolve(reached, steps)[self.number]
        return float(np.clip(1 - stays / stats.poisson.pmf(self.number, self.number), 0.0, 1.0))
