"""Traits: what the flags of a window are made of, its swings and its impulses, as one row of numbers for the feeder."""

import numpy as np

from echobank.machines import impulses, swings
from echobank.machines.impulses import BANDS, KEPT, Peaks
from echobank.machines.swings import Swings
from echobank.models.encoder import Float32
from echobank.models.logmel import MELS

SWINGS = "swings"  # among the extras of a bank: `Swings.kept`, float32[N, 3, M], dB
IMPULSES = "impulses"  # likewise: `Peaks.kept`, float32[N, 2, BANDS]
_SWINGS = swings.ROWS * MELS


def traits_of(samples: Float32, rate: int) -> Float32:
    """Return the traits of a window float32[T] at the encoder's rate, Hz, as float32[K]."""
    found, peaks = swings.swings_of(samples, rate), impulses.peaks_of(samples, rate)
    return np.concatenate(
        [swings.as_array(found).ravel(), peaks.heights.ravel(), peaks.times.ravel(), peaks.kurtosis]
    ).astype(np.float32)


def split(traits: Float32) -> tuple[Swings, Peaks]:
    """Return the swings and the peaks that traits float32[K] are of."""
    rest = traits[_SWINGS:]
    each = BANDS * KEPT
    heights, times = (rest[i * each : (i + 1) * each].reshape(BANDS, KEPT) for i in range(2))
    return swings.from_array(traits[:_SWINGS].reshape(swings.ROWS, MELS)), Peaks(heights, times, rest[2 * each :])


def kept(traits: Float32) -> dict[str, Float32]:
    """Return what a bank keeps of the traits float32[N, K] of its rows; nothing where they were not taken."""
    if not traits.shape[1]:
        return {}
    both = [split(row) for row in traits]
    return {
        SWINGS: np.stack([found.kept for found, _ in both]),
        IMPULSES: np.stack([peaks.kept for _, peaks in both]),
    }
