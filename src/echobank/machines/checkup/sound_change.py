"""A change of the sound: what its facts were before and after, and what most likely caused it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.data.sound_facts import NAMES, OTHER_THIRDS, THIRDS

Float64 = NDArray[np.float64]

_AUDIBLE = -150.0  # dB of full scale; below there was no sound


@dataclass(frozen=True)
class Cause:
    """What a change of the sound most likely is.

    Attributes:
        kind: gain, lost_band, swapped, dropped, clipping, offset, hum, ageing, sound or unknown.
        chain: Whether it is the recording chain, not the machine.
        sentence: For people, without an end.
        evidence: What it rests on.
        next_step: What to do.
        size: Decibels, where one number says it.
    """

    kind: str
    chain: bool
    sentence: str
    evidence: tuple[str, ...]
    next_step: str
    size: float = float("nan")


@dataclass(frozen=True)
class Sides:
    """Means of the facts of the sound, dB, before and after a change, float64[F] each, and whether it came slowly."""

    before: Float64
    after: Float64
    slow: bool

    def moved(self, name: str) -> float:
        """Return by how much a fact changed, dB; NaN where it was not taken."""
        at = NAMES.index(name)
        return float(self.after[at] - self.before[at])

    def risen(self, name: str, above: float) -> tuple[float, float] | None:
        """Return a fact after the change and by how much it rose, dB; None unless it is that loud and rose by 6 dB."""
        now, moved = float(self.after[NAMES.index(name)]), self.moved(name)
        return (now, moved) if moved >= 6 and now > above else None

    @property
    def bands(self) -> Float64:
        """By how much each third octave changed, float64[30], dB; NaN where there is no sound on either side."""
        return _difference(self.before[THIRDS], self.after[THIRDS])

    @property
    def other_bands(self) -> Float64:
        """As `bands`, of the second channel."""
        return _difference(self.before[OTHER_THIRDS], self.after[OTHER_THIRDS])


def _difference(before: Float64, after: Float64) -> Float64:
    loud = (before > _AUDIBLE) & (after > _AUDIBLE)
    return np.where(loud, after - before, np.nan)
