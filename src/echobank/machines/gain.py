"""Gain: how loud today's recordings are compared with those of the bank. A sentence, never a decision.

A recording chain whose gain changes makes everything louder, and so does a machine that is. Nobody can tell the two
apart from levels. So it only reports that all recordings moved alike, and suppresses no alarm.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank

Float64 = NDArray[np.float64]

LEVEL = "level"  # name of the levels among the extras of a bank: RMS of each window, dB of full scale, float32[N]
LEAST_DB = 3.0  # twice the power; less is not worth a line
_AUDIBLE_DB = -150.0  # below the noise of 24 bits there was no sound


def together(levels: Iterable[float]) -> float:
    """Return the level of several windows of one length, dB: that of their mean power."""
    return float(10 * np.log10(np.mean(10 ** (np.asarray(list(levels), np.float64) / 10))))


def levels_of(bank: Bank) -> Float64:
    """Return the level of each recording of a bank, dB of full scale; none where an older version made it."""
    levels = bank.extras.get(LEVEL)
    if levels is None:
        return np.zeros(0)
    recordings = np.unique(bank.columns.words["sha256"].codes, return_inverse=True)[1]
    power = np.bincount(recordings, 10 ** (levels.astype(np.float64) / 10)) / np.bincount(recordings)
    return np.asarray(10 * np.log10(power))


def describe_shift(bank: Sequence[float] | Float64, today: Sequence[float] | Float64) -> str:
    """Return how today's recordings are louder or quieter than the bank's, empty where they are not.

    They moved alike where each lies on the same side of the bank's median, by 3 dB or more, and they differ no more
    among themselves than the bank's recordings do, or by no more than 3 dB.

    Args:
        bank: Level of each recording of the bank, dB.
        today: Level of each recording of today, dB.
    """
    known, heard = (np.asarray(levels, np.float64) for levels in (bank, today))
    known, heard = known[known > _AUDIBLE_DB], heard[heard > _AUDIBLE_DB]
    if not len(known) or not len(heard):
        return ""
    shifts = heard - np.median(known)
    usual = float(np.median(shifts))
    if abs(usual) < LEAST_DB:
        return ""
    word = "louder" if usual > 0 else "quieter"
    least, most = sorted((float(np.abs(shifts).min()), float(np.abs(shifts).max())))
    one_way = bool((np.sign(shifts) == np.sign(usual)).all())
    if len(heard) > 1 and one_way and least >= LEAST_DB and most - least <= max(LEAST_DB, float(np.ptp(known))):
        return (
            f"all of today's recordings are {_span(least, most)} dB {word} than the bank's median: the gain or the "
            f"distance may have changed, or the machine is {word}"
        )
    return f"today's recordings are {abs(usual):.0f} dB {word} than the bank's, by their medians"


def _span(least: float, most: float) -> str:
    low, high = f"{least:.0f}", f"{most:.0f}"
    return low if low == high else f"{low} to {high}"
