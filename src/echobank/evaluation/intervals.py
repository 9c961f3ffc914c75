"""How far a result might have been otherwise: jackknife over machines, bootstrap over clips.

All draws are seeded by machine and section, so an interval depends neither on order nor on other machines.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.evaluation.metrics import harmonic_mean, harmonic_means, machine_areas, roc_areas
from echobank.evaluation.truth import LabelledScores

Float64 = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 1000
_FEWEST = 5  # clips of a kind; drawing from fewer only repeats them and the interval would look sharp
_BLOCK = 256  # weightings at a time; bounds the memory of the jackknife over clips


@dataclass(frozen=True)
class Interval:
    """Where a figure lies with probability 0.95; NaN when it is not defined."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether a difference with this interval is within noise."""
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Intervals:
    """Intervals of an evaluation.

    Attributes:
        machines: AUC source, AUC target and pAUC of each machine and section, by bootstrap over clips.
        score_over_clips: Official score, by bootstrap over clips: other recordings of the same machines.
        score_over_machines: Official score, by jackknife over machines: other machines.
        official_ci95: The figure that the official evaluator calls "official score ci95".
    """

    machines: tuple[tuple[Interval, Interval, Interval], ...]
    score_over_clips: Interval
    score_over_machines: Interval
    official_ci95: float


def measure_intervals(labelled: Sequence[LabelledScores], *, seed: int = 0, draws: int = DRAWS) -> Intervals:
    """Return every interval of an evaluation."""
    parts = bootstrap_parts(labelled, [resample(item, seed=seed, draws=draws) for item in labelled])
    drawn = np.where([_enough(item) for item in labelled], parts, math.nan)
    machines = tuple(
        (percentiles(drawn[:, m, 0]), percentiles(drawn[:, m, 1]), percentiles(drawn[:, m, 2]))
        for m in range(len(labelled))
    )
    once = np.concatenate([machine_areas(item, np.ones((1, len(item.scores)))) for item in labelled])
    return Intervals(
        machines,
        percentiles(score_draws(labelled, parts)),
        jackknife_over_machines(once, [item.machine for item in labelled]),
        official_ci95(labelled),
    )


def bootstrap_parts(labelled: Sequence[LabelledScores], weights: Sequence[Float64]) -> Float64:
    """Return AUC source, AUC target and pAUC of each machine under each draw, float64[B, M, 3].

    Args:
        labelled: Clips of each machine and section.
        weights: What `resample` gave for each; two systems with the same weights can be compared in pairs.
    """
    return np.stack([machine_areas(item, draws) for item, draws in zip(labelled, weights, strict=True)], axis=1)


def score_draws(labelled: Sequence[LabelledScores], parts: Float64) -> Float64:
    """Return the official score of each draw of `bootstrap_parts`, float64[B]; NaN when a figure has too few clips."""
    known = np.isfinite(parts).any(axis=0)
    if (known & ~np.array([_enough(item) for item in labelled])).any():
        return np.full(len(parts), math.nan)
    return harmonic_means(parts.reshape(len(parts), -1))


def resample(item: LabelledScores, *, seed: int, draws: int) -> Float64:
    """Return how often each clip of a machine occurs in each draw, float64[B, n].

    The clips of each domain and condition are drawn with replacement among themselves, so that every draw keeps
    the make-up of the test set.
    """
    text = f"{seed} {item.machine} {item.section}"
    rng = np.random.default_rng(list(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()))
    weights = np.zeros((len(item.scores), draws)).T  # the draws of a clip side by side, as the areas are summed
    for domain in np.unique(item.domains):
        for anomaly in (False, True):
            here = np.flatnonzero((item.domains == domain) & (item.anomaly == anomaly))
            if len(here):
                weights[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return weights


def _enough(item: LabelledScores) -> tuple[bool, bool, bool]:
    """Return whether AUC source, AUC target and pAUC have clips enough to be resampled."""
    normal = ~item.anomaly
    counts = (normal & (item.domains == "source")).sum(), (normal & (item.domains == "target")).sum(), normal.sum()
    source, target, both = (min(count, item.anomaly.sum()) >= _FEWEST for count in counts)
    return bool(source), bool(target), bool(both)


def percentiles(values: Float64) -> Interval:
    """Return the interval that holds the middle 95 % of draws, NaN where there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def jackknife_over_machines(parts: Float64, machines: Sequence[str]) -> Interval:
    """Return the interval of the official score from leaving out one machine at a time (Tukey 1958).

    Args:
        parts: AUC source, AUC target and pAUC per machine and section, float64[M, 3].
        machines: Machine type of each; its sections are left out together.
    """
    names = np.array(machines)
    score = harmonic_mean(parts)
    without = np.array([harmonic_mean(parts[names != name]) for name in np.unique(names)])
    n = len(without)
    if n < 2 or not np.isfinite(without).all():
        return Interval(math.nan, math.nan)
    error = math.sqrt((n - 1) * float(without.var()))
    reach = student_quantile((1 + LEVEL) / 2, n - 1) * error
    return Interval(score - reach, score + reach)


def official_ci95(labelled: Sequence[LabelledScores]) -> float:
    """Return the evaluator's "official score ci95".

    It pools the clips of all machines, leaves out one at a time, and gives Student's t times the standard error of
    the mean of those estimates, averaged over AUC and pAUC. A jackknife standard error would be n - 1 times larger
    (n clips), so this figure is no interval of the score; it is here to equal the official output.
    """
    scores = np.concatenate([item.scores for item in labelled])
    anomaly = np.concatenate([item.anomaly for item in labelled])
    n = len(scores)
    if anomaly.sum() < 2 or (~anomaly).sum() < 2:
        return math.nan
    estimates = []
    for start in range(0, n, _BLOCK):
        weights = np.ones((min(_BLOCK, n - start), n))
        weights[np.arange(len(weights)), start + np.arange(len(weights))] = 0.0
        estimates.append(np.stack(roc_areas(scores, anomaly, ~anomaly, weights)))
    spread = np.concatenate(estimates, axis=1).std(axis=1, ddof=1) / math.sqrt(n)
    return float(student_quantile(0.975, n - 1) * spread.mean())


def student_quantile(share: float, freedom: int) -> float:
    """Return what a share of Student's t distribution lies below, without importing scipy.stats, which is slow."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))
