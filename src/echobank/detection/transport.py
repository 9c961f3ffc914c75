"""Transport: the scores of a large domain lend their shape to a domain of a few clips."""

import numpy as np
from numpy.typing import NDArray

from echobank.errors import InputError

Float64 = NDArray[np.float64]

DRAWS = 1000  # imitations of the small domain; more change a rate of 10 % by less than 0.2 points
_MOST = 2000  # scores of the large domain that are drawn from; more are thinned to as many evenly spaced ones


def transported(reference: Float64, own: Float64, rate: float, domain: str = "") -> tuple[float, float, float]:
    """Return (threshold, 5th percentile, 95th percentile of the true rate) of a domain with few clips.

    With m and s the mean and deviation of n scores, `(x - m) / s` of one more score x has the same distribution for
    all distributions that differ by location and scale only. That distribution is found by imitation: n scores drawn
    from the reference many times, and all its other scores measured with their m and s. With c its upper `rate`
    quantile, the threshold is `m + c s` of the domain's own scores. It is Student's prediction limit with the shape of
    the reference in the place of the normal distribution. The percentiles are over the imitations.

    Args:
        reference: Scores of the large domain, float64[N], N at least 2 n.
        own: Scores of the small domain, float64[n].
        rate: False-alarm rate.
        domain: Its name, for the message.

    Raises:
        InputError: Fewer than 2 scores, fewer than 2 n in the reference, or scores that do not vary.
    """
    n, shape = len(own), np.sort(reference)
    of = f" of domain {domain}" if domain else ""
    if n < 2 or len(shape) < 2 * n:
        raise InputError(
            f"{n} clips{of} beside {len(shape)} of the largest domain: transport needs 2, and twice as many there",
            hint="set decision.method to quantile",
        )
    if len(shape) > _MOST:
        shape = shape[np.linspace(0, len(shape) - 1, _MOST).round().astype(int)]
    order = np.random.default_rng(0).random((DRAWS, len(shape))).argpartition(n, axis=1)
    drawn, others = shape[order[:, :n]], shape[order[:, n:]]
    pivots = _pivots(others, drawn)
    k = max(1, int(rate * pivots.size))
    c = float(np.partition(pivots, pivots.size - k, axis=None)[pivots.size - k])
    value = float(own.mean() + c * own.std(ddof=1))
    if not np.isfinite(value) or own.std(ddof=1) == 0:
        raise InputError(f"the scores{of} do not vary enough to be transported", hint="set decision.method to quantile")
    low, high = np.quantile((pivots > c).mean(axis=1), (0.05, 0.95))
    return value, float(low), float(high)


def _pivots(others: Float64, drawn: Float64) -> Float64:
    """Return `(x - m) / s` of every other score, float64[draws, N - n]; without bound where s is 0."""
    distance = others - drawn.mean(axis=1, keepdims=True)
    deviation = drawn.std(axis=1, ddof=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots: Float64 = np.where(distance == 0, 0.0, distance / deviation)
    return pivots
