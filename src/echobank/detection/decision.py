"""Decisions: from the bank's own leave-one-out scores to a threshold at a stated false-alarm rate."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from echobank.errors import ConfigError, InputError

Float64 = NDArray[np.float64]
Names = NDArray[np.str_]

_TOLERANCE = 1e-9  # of rate * (n + 1), which is a whole number for rates such as 0.1


@dataclass(frozen=True)
class Threshold:
    """A score above which a clip is called anomalous.

    Attributes:
        value: The threshold.
        method: How it was found, one of `METHODS`.
        rate: False-alarm rate that was asked for.
        n: Calibration clips.
        low: 5th percentile of the true false-alarm rate.
        high: 95th percentile of it.
        domain: Domain that it is for; empty for all.
    """

    value: float
    method: str
    rate: float
    n: int
    low: float = 0.0
    high: float = 1.0
    domain: str = ""


def calibrate(self_scores: Float64, domains: Names, method: str, rate: float) -> tuple[Threshold, ...]:
    """Return one threshold a domain, or one for all.

    Args:
        self_scores: Leave-one-out scores of normal clips, float64[N].
        domains: Domain of each, str[N].
        method: One of `METHODS`.
        rate: False-alarm rate, above 0 and below 1.

    Raises:
        ConfigError: Unknown method.
        InputError: So few clips do not support the rate, or the scores do not allow a fit.
    """
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(METHODS)}"
        raise ConfigError("unknown decision method", value=method, hint=hint)
    if not 0 < rate < 1:
        raise InputError("a false-alarm rate lies between 0 and 1, both excluded", value=rate)
    scores = np.asarray(self_scores, dtype=np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        raise InputError("calibration needs finite scores of normal clips", value=len(scores))
    return METHODS[method](scores, np.asarray(domains), rate)


def decide(scores: Float64, domains: Sequence[str] | Names | None, thresholds: Sequence[Threshold]) -> NDArray[np.int8]:
    """Return 1 for each score above its threshold, else 0, int8[Q].

    A clip whose domain is not known, or has no threshold, is held against the largest: then the rate holds in each
    domain, not on average.

    Args:
        scores: float64[Q].
        domains: Domain of each clip; None when unknown.
        thresholds: What `calibrate` gave.
    """
    largest = max(threshold.value for threshold in thresholds)
    known = {threshold.domain: threshold.value for threshold in thresholds}
    limits: Any = largest if domains is None else np.array([known.get(str(name), largest) for name in domains])
    decisions: NDArray[np.int8] = (np.asarray(scores) > limits).astype(np.int8)
    return decisions


def p_values(scores: Float64, calibration_scores: Float64) -> Float64:
    """Return conformal p-values `(1 + #{calibration >= s}) / (n + 1)`, float64[Q]; never below 1 / (n + 1)."""
    ordered = np.sort(calibration_scores)
    above = len(ordered) - np.searchsorted(ordered, scores, side="left")
    values: Float64 = (1 + above) / (len(ordered) + 1)
    return values


def order_statistic(scores: Float64, rate: float, method: str, domain: str = "") -> Threshold:
    """Return the k-th largest score, k = floor(rate (n + 1)): conformal; its true rate is Beta(k, n + 1 - k).

    Raises:
        InputError: The rate is below 1 / (n + 1).
    """
    n = len(scores)
    k = int(np.floor(rate * (n + 1) + _TOLERANCE))
    if k < 1:
        of = f" of domain {domain}" if domain else ""
        raise InputError(
            f"{n} normal clips{of} support a false-alarm rate of 1/(n+1) = {1 / (n + 1):.3g} at the least",
            value=rate,
            hint="ask for a higher rate or record more normal clips",
        )
    low, high = stats.beta.ppf((0.05, 0.95), k, n + 1 - k)
    return Threshold(float(np.sort(scores)[n - k]), method, rate, n, float(low), float(high), domain)


def _gamma(scores: Float64, domains: Names, rate: float) -> tuple[Threshold, ...]:
    """Percentile of a gamma distribution fitted to all scores, location free, as the official baseline of DCASE.

    The interval is that of the rate given how many of the scores exceed the threshold, Beta(m + 1, n + 1 - m).
    """
    if np.ptp(scores) == 0:
        value = float(scores[0])
    else:
        try:
            value = float(stats.gamma.ppf(1 - rate, *stats.gamma.fit(scores)))
        except (stats.FitError, ValueError, RuntimeError) as error:
            raise _no_fit(len(scores)) from error
    if not np.isfinite(value):
        raise _no_fit(len(scores))
    above = int((scores > value).sum())
    low, high = stats.beta.ppf((0.05, 0.95), above + 1, len(scores) + 1 - above)
    return (Threshold(value, "gamma", rate, len(scores), float(low), float(high)),)


def _no_fit(n: int) -> InputError:
    return InputError(f"no gamma distribution fits the {n} scores", hint="set decision.method to quantile")


def _quantile(scores: Float64, domains: Names, rate: float) -> tuple[Threshold, ...]:
    names = [str(name) for name in np.unique(domains)]
    return tuple(order_statistic(scores[domains == name], rate, "quantile", name) for name in names)


def _pooled(scores: Float64, domains: Names, rate: float) -> tuple[Threshold, ...]:
    return (order_statistic(scores, rate, "pooled"),)


METHODS: Mapping[str, Callable[[Float64, Names, float], tuple[Threshold, ...]]] = {
    "gamma": _gamma,
    "quantile": _quantile,
    "pooled": _pooled,
}
