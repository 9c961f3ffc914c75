"""A threshold: the score above which a clip is called anomalous, and what is known of its false-alarm rate."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A score above which a clip is called anomalous.

    Attributes:
        value: The threshold.
        method: How it was found, one of `decision.METHODS`.
        rate: The requested false-alarm rate.
        n: Calibration clips.
        low: 5th percentile of the true false-alarm rate.
        high: 95th percentile of it.
        domain: Domain that it is for; empty for all.
        states: Operating states that were left out one by one; 0 where clips were.
    """

    value: float
    method: str
    rate: float
    n: int
    low: float = 0.0
    high: float = 1.0
    domain: str = ""
    states: int = 0
