"""Decisions: from the bank's own scores, each row left out, to a threshold at a stated false-alarm rate."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.detection.calibration import beta_interval
from echobank.detection.calibration import calibrate as hierarchical
from echobank.detection.threshold import Threshold
from echobank.detection.transport import transported
from echobank.errors import ConfigError, InputError

Float64 = NDArray[np.float64]
Names = NDArray[np.str_]

FEW = 50  # clips; with fewer, a rate of 5 % from them alone lies anywhere from 0.7 to 9 % or cannot be had
_EXPECTED = 5  # scores above a threshold; to see none by chance has a probability of e^-5
_TOLERANCE = 1e-9  # of rate * (n + 1), which is a whole number for rates such as 0.1


@dataclass(frozen=True)
class Healthy:
    """What thresholds are found from: scores of normal clips.

    Attributes:
        scores: Each against the bank without itself, or without its state, float64[N].
        domains: Domain of each, str[N].
        states: Operating state of each where states were left out, str[N]; None where clips were.
    """

    scores: Float64
    domains: Names
    states: Names | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, domain: str) -> "Healthy":
        """Return those of one domain."""
        here = self.domains == domain
        return Healthy(self.scores[here], self.domains[here], None if self.states is None else self.states[here])

    @property
    def by_domain(self) -> "dict[str, Healthy]":
        """Those of each domain."""
        return {str(name): self.of(str(name)) for name in np.unique(self.domains)}

    @property
    def state_count(self) -> int:
        """Number of states that were left out; 0 where clips were."""
        return 0 if self.states is None else len(np.unique(self.states))


def calibrate(
    self_scores: Float64, domains: Names, method: str, rate: float, states: Names | None = None
) -> tuple[Threshold, ...]:
    """Return one threshold per domain, or one for all.

    Args:
        self_scores: Leave-one-out scores of normal clips, float64[N].
        domains: Domain of each, str[N].
        method: One of `METHODS`.
        rate: False-alarm rate, above 0 and below 1.
        states: Operating state of each, str[N], where the scores are those of `states.state_scores`; None where each
            clip was left out on its own.

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
    return METHODS[method](Healthy(scores, np.asarray(domains), states), rate)


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
    k = _rank(rate, n, "normal clips", domain)
    return Threshold(float(np.sort(scores)[n - k]), method, rate, n, *beta_interval(k, n + 1 - k), domain)


def state_statistic(healthy: Healthy, rate: float, method: str, domain: str = "") -> Threshold:
    """Return the threshold of `detection.calibration` with the states as groups: conformal in whole states.

    Where each clip is a state of its own it is `order_statistic`. The percentiles are those of as many clips as there
    are states.

    Raises:
        InputError: The rate is below 1 / (G + 1).
    """
    assert healthy.states is not None
    states = hierarchical(healthy.scores, healthy.states.tolist())
    k = _rank(rate, states.groups, "operating states", domain)
    low, high = beta_interval(k, states.groups + 1 - k)
    return Threshold(states.threshold(rate), method, rate, len(healthy), low, high, domain, states.groups)


def _rank(rate: float, n: int, of_what: str, domain: str) -> int:
    """Return floor(rate (n + 1)), refusing 0."""
    k = int(np.floor(rate * (n + 1) + _TOLERANCE))
    if k < 1:
        of = f" of domain {domain}" if domain else ""
        raise InputError(
            f"{n} {of_what}{of} support a false-alarm rate of 1/(n+1) = {1 / (n + 1):.3g} at the least",
            value=rate,
            hint="ask for a higher rate, record more, or take a method that assumes more (transport)",
        )
    return k


def _gamma(healthy: Healthy, rate: float) -> tuple[Threshold, ...]:
    """Percentile of a gamma distribution fitted to all scores, location free, as the official baseline of DCASE.

    That fit can run away, its location at the least score, its upper percentiles far from all scores. Where none is
    above the 90th percentile of the baseline though five or more should be, or more than half are, the location is 0.
    The interval is that of the rate given how many of the scores exceed the threshold, Beta(m + 1, n + 1 - m).
    """
    scores, n = healthy.scores, len(healthy.scores)
    usual, value = _gamma_percentiles(scores, (0.9, 1 - rate))
    above = int((scores > usual).sum())
    if (above > n / 2 or (above == 0 and 0.1 * n >= _EXPECTED)) and scores.min() > 0 and np.ptp(scores) > 0:
        (value,) = _gamma_percentiles(scores, (1 - rate,), floc=0.0)
    above = int((scores > value).sum())
    return (Threshold(value, "gamma", rate, n, *beta_interval(above + 1, n + 1 - above), states=healthy.state_count),)


def _gamma_percentiles(scores: Float64, shares: Sequence[float], **fixed: float) -> list[float]:
    """Return what each share of the fitted distribution lies below; the score itself where all are equal.

    Raises:
        InputError: No distribution fits.
    """
    from scipy import stats

    if np.ptp(scores) == 0:
        return [float(scores[0])] * len(shares)
    try:
        values: Float64 = stats.gamma.ppf(shares, *stats.gamma.fit(scores, **fixed))
    except (stats.FitError, ValueError, RuntimeError) as error:
        raise _no_fit(len(scores)) from error
    if not np.isfinite(values).all():
        raise _no_fit(len(scores))
    return [float(value) for value in values]


def _no_fit(n: int) -> InputError:
    return InputError(f"no gamma distribution fits the {n} scores", hint="set decision.method to quantile")


def _quantile(healthy: Healthy, rate: float) -> tuple[Threshold, ...]:
    return tuple(_conformal(part, rate, "quantile", name) for name, part in healthy.by_domain.items())


def _pooled(healthy: Healthy, rate: float) -> tuple[Threshold, ...]:
    return (_conformal(healthy, rate, "pooled", ""),)


def _conformal(healthy: Healthy, rate: float, method: str, domain: str) -> Threshold:
    if healthy.states is None:
        return order_statistic(healthy.scores, rate, method, domain)
    return state_statistic(healthy, rate, method, domain)


def _transport(healthy: Healthy, rate: float) -> tuple[Threshold, ...]:
    """The order statistic of each domain; of one with fewer than `FEW` clips, the largest domain's, transported.

    Where states were left out, clips count, not states: the states heard are taken for all there are. The interval
    then allows for as many independent clips as there are states.
    """
    parts = healthy.by_domain
    largest = max(parts, key=lambda name: len(parts[name]))
    found = []
    for name, part in parts.items():
        if name != largest and len(part) < FEW:
            value, low, high = transported(parts[largest].scores, part.scores, rate, name)
            found.append(Threshold(value, "transport", rate, len(part), low, high, name, part.state_count))
            continue
        own = order_statistic(part.scores, rate, "transport", name)
        if part.states is not None:
            all_states = part.state_count + 1
            low, high = beta_interval(rate * all_states, (1 - rate) * all_states)
            own = replace(own, low=low, high=high, states=part.state_count)
        found.append(own)
    return tuple(found)


METHODS: Mapping[str, Callable[[Healthy, float], tuple[Threshold, ...]]] = {
    "gamma": _gamma,
    "quantile": _quantile,
    "pooled": _pooled,
    "transport": _transport,
}

ASSUMES: Mapping[str, str] = {
    "gamma": "all scores follow one gamma distribution, whatever the domain; no promise",
    "quantile": "new normal clips are like those of their domain in the bank; nothing else",
    "pooled": "domains come as often as in the bank; the rate does not hold in each",
    "transport": (
        f"as quantile for domains of {FEW} clips or more; the scores of a smaller one have the shape of the largest's"
    ),
}
