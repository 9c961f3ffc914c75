"""A sequential test of exchangeability: do the values still come as they did, at a stated rate of false alarms.

Each value, one per independent block, gets a conformal p-value among the earlier values of its class (the same time
of day). While the values of a class are exchangeable these p-values are independent and uniform, exactly and whatever
the values are: no bank, and no finite calibration, enters. Bets against uniformity are power functions of p and of
1 - p, and each is carried on by the Shiryaev-Roberts recursion R <- (R + 1) f(p), whose mean grows by one per value,
so that the mean time to a false alarm at R >= c is at least c values, for the average of all bets as well.

V. Vovk, I. Petej, I. Nouretdinov, E. Ahlberg, L. Carlsson, A. Gammerman: Retrain or not retrain: conformal test
martingales for change-point detection, COPA 2021 (PMLR 152). V. Vovk, A. Gammerman, G. Shafer: Algorithmic Learning
in a Random World, 2nd ed., Springer 2022, chapter 8.
"""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

POWERS = (0.05, 0.15, 0.35, 0.6, 0.8)  # of f(p) = e p^(e - 1): the smaller, the fewer and stronger the signs it bets on
_LEAST_P = 1e-12


@dataclass(frozen=True)
class Watched:
    """What the test made of a series.

    Attributes:
        p_values: Of each value, float64[T]; small where it is larger than the earlier ones.
        evidence: log10 of the statistic after each value, float64[T]; it is 0 after the first on average.
        alarm: Index of the value at which it reached the bound; None where it did not.
    """

    p_values: Float64
    evidence: Float64
    alarm: int | None


def conformal_p_values(values: Float64, classes: Int64, seed: int = 0) -> Float64:
    """Return the p-value of each value among the earlier ones of its class, itself counted, float64[T].

    Args:
        values: float64[T], in the order of time.
        classes: Class of each, int64[T].
        seed: Of the random numbers that break ties.
    """
    random = np.random.default_rng(seed).random(len(values))
    known: dict[int, list[float]] = {}
    found = np.empty(len(values))
    for i, (value, name, chance) in enumerate(zip(values.tolist(), classes.tolist(), random.tolist(), strict=True)):
        earlier = known.setdefault(name, [])
        low, high = bisect_left(earlier, value), bisect_right(earlier, value)
        found[i] = (len(earlier) - high + chance * (high - low + 1)) / (len(earlier) + 1)
        insort(earlier, value)
    return found


def watch_for_change(values: Float64, classes: Int64, bound: float, seed: int = 0) -> Watched:
    """Return when a series stopped to come as before, if it did.

    Args:
        values: One per independent block, float64[T], in the order of time.
        classes: Class of each, int64[T]; values are compared within a class.
        bound: Mean number of values to a false alarm, at the least.
        seed: As `conformal_p_values`.
    """
    p_values = conformal_p_values(values, classes, seed)
    powers = np.array(POWERS)
    small = np.maximum(p_values, _LEAST_P)[:, None]
    large = np.maximum(1 - p_values, _LEAST_P)[:, None]
    bets = np.concatenate((powers * small ** (powers - 1), powers * large ** (powers - 1)), axis=1)
    statistic, evidence = np.zeros(bets.shape[1]), np.empty(len(values))
    alarm = None
    for i, bet in enumerate(bets):
        statistic = np.minimum((statistic + 1) * bet, 1e250)
        evidence[i] = statistic.mean()
        if alarm is None and evidence[i] >= bound:
            alarm = i
    return Watched(p_values, np.log10(np.maximum(evidence, 1e-12)), alarm)
