"""Calibration: what a machine's own healthy windows say about a score.

Windows of one recording are alike, so that not windows but groups (recordings, or blocks of a long one) are what a
false-alarm rate can be counted in. With G groups and f_g(s) the share of the windows of group g that score s or
more, by leave-one-group-out, `p(s) = (1 + sum_g f_g(s)) / (G + 1)`: the conformal p-value of a window of a new
group (two-layer hierarchical conformal prediction, Dunn, Wasserman and Ramdas, JASA 2022). With one window per group
it is the usual conformal p-value.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.errors import InputError

Float64 = NDArray[np.float64]

USUAL_RATE = 0.05  # false-alarm rate taken when none is asked for and enough groups support it
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Calibration:
    """Leave-one-out scores of the healthy windows.

    Attributes:
        scores: In ascending order, float64[N].
        tails: Sum over groups of the share of their windows that score at least `scores[i]`, float64[N].
        groups: Number of groups G.
    """

    scores: Float64
    tails: Float64
    groups: int

    @property
    def smallest_rate(self) -> float:
        """The smallest false-alarm rate that this many groups support."""
        return 1 / (self.groups + 1)

    def p_values(self, scores: Float64) -> Float64:
        """Return the conformal p-value of each score, float64[Q], in (0, 1]; small is anomalous."""
        tails: Float64 = np.append(self.tails, 0.0)[np.searchsorted(self.scores, scores, side="left")]
        return (1 + tails) / (self.groups + 1)

    def percentiles(self, scores: Float64) -> Float64:
        """Return the share of healthy windows, in percent, that score less, float64[Q]."""
        below = np.searchsorted(self.scores, scores, side="left").astype(np.float64)
        return below * (100 / len(self.scores))

    def threshold(self, rate: float) -> float:
        """Return the score above which p is at most `rate`.

        Raises:
            InputError: No rate between 0 and 1, or one that so few groups do not support.
        """
        if not 0 < rate < 1:
            raise InputError("not a rate between 0 and 1", value=rate, hint="for example 0.05, which is 5 %")
        allowed = rate * (self.groups + 1) - 1
        if allowed < -_TOLERANCE:
            raise InputError(
                f"{self.groups} independent healthy recordings or blocks support a false-alarm rate of "
                f"{100 * self.smallest_rate:.3g} % at the least, not of {100 * rate:.3g} %",
                hint="record more healthy sound, or ask for a higher rate",
            )
        return float(self.scores[np.flatnonzero(self.tails > allowed + _TOLERANCE)[-1]])

    def usual_rate(self) -> float:
        """Return 5 %, or the smallest rate that is supported when that is higher."""
        return max(USUAL_RATE, self.smallest_rate)

    def interval(self, rate: float) -> tuple[float, float]:
        """Return where the true rate lies, 5th to 95th percentile, when `rate` is asked for: Beta(k, G + 1 - k)."""
        k = max(1, int(rate * (self.groups + 1) + _TOLERANCE))
        return beta_interval(k, self.groups + 1 - k)


def beta_interval(a: float, b: float) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of the distribution Beta(a, b).

    By scipy.special: to import scipy.stats takes longer than to score a recording.
    """
    from scipy.special import betaincinv

    low, high = betaincinv(a, b, (0.05, 0.95))
    return float(low), float(high)


def calibrate(self_scores: Float64, groups: Sequence[str]) -> Calibration:
    """Return the calibration of leave-one-group-out scores float64[N] of rows in `groups`, N names."""
    sizes = Counter(groups)
    order = np.argsort(self_scores, kind="stable")
    weights = np.array([1 / sizes[groups[i]] for i in order])
    scores = self_scores[order]
    above = np.round(np.cumsum(weights[::-1])[::-1], 9)  # sums of shares such as 1/3 are whole numbers again
    return Calibration(scores, above[np.searchsorted(scores, scores, side="left")], len(sizes))
