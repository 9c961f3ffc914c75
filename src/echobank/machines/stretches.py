"""Moments: stretches of time and bands in which a window is louder than the rest of it, more than healthy windows are.

The rises of `swings` again, at every frame of log-mel power: a moment is found at the rise that lies most deviations
above those of healthy windows, and reaches as far as the rise is more than half as high.
"""

import numpy as np
from numpy.typing import NDArray

from echobank.machines.regions import DECIBEL, FRAME_SECONDS, Region
from echobank.machines.swings import QUIET
from echobank.models.encoder import Float32
from echobank.models.logmel import FRAME, SAMPLE_RATE, mel_edges_hz

Float64 = NDArray[np.float64]

_SMOOTH = 19  # frames of log-mel power, 0.19 s as there
_MIDDLE = FRAME / 2 / SAMPLE_RATE  # of the first frame, seconds
_MOST = 2
_LEAST = 1.0  # deviations above the mean
_LEAST_DB = 5.0
_EDGE = 0.01  # seconds: a frame hears 25 ms, the last of which count little
_ASIDE = 10  # frames and 1 bin beside a moment that are part of none


def find_stretches(mel: Float32, mean: Float64, spread: Float64) -> list[Region]:
    """Return up to two moments, the one that stands out most first.

    Args:
        mel: Natural-log mel power of the window, float32[F, M].
        mean: Mean of the largest rise of each bin in healthy windows, float64[M], dB.
        spread: Their deviation, float64[M], dB.
    """
    if len(mel) < 2 * _SMOOTH:
        return []
    sums = np.cumsum(np.pad(mel.astype(np.float64) * DECIBEL, ((1, 0), (0, 0))), axis=0)
    smooth = (sums[_SMOOTH:] - sums[:-_SMOOTH]) / _SMOOTH
    rise = smooth - np.sort(smooth, axis=0)[len(smooth) // QUIET]
    odd = np.where(rise >= _LEAST_DB, (rise - mean) / spread, -np.inf)
    found: list[Region] = []
    while len(found) < _MOST:
        frame, peak = np.unravel_index(int(odd.argmax()), odd.shape)
        height = float(odd[frame, peak])
        if height <= _LEAST:
            break
        times, bins = _extent(rise, int(frame), int(peak))
        found.append(_moment(rise, times, bins, height))
        odd[max(0, times.start - _ASIDE) : times.stop + _ASIDE, max(0, bins.start - 1) : bins.stop + 1] = -np.inf
    return found


def _extent(rise: Float64, frame: int, peak: int) -> tuple[slice, slice]:
    """Return the frames and the bins around a rise that are more than half as high; each is found with the other."""
    bins = slice(peak, peak + 1)
    times = _stretch(rise[:, peak], frame)
    for _ in range(2):
        bins = _stretch(rise[times].mean(axis=0), peak)
        course = rise[:, bins].mean(axis=1)
        times = _stretch(course, times.start + int(course[times].argmax()))
    return times, bins


def _stretch(values: Float64, peak: int) -> slice:
    """Return the unbroken stretch around a peak in which values are more than half as large."""
    outside = np.flatnonzero(values < values[peak] / 2)
    before, after = outside[outside < peak], outside[outside > peak]
    return slice(int(before[-1]) + 1 if len(before) else 0, int(after[0]) if len(after) else len(values))


def _moment(rise: Float64, times: slice, bins: slice, height: float) -> Region:
    edges, inside = mel_edges_hz(), rise[times, bins]
    gains = np.zeros(rise.shape[1])
    gains[bins] = inside.mean(axis=0)
    first = _MIDDLE + (_SMOOTH - 2) / 2 * FRAME_SECONDS  # where the first value, a mean of 0.2 s, begins to count
    start = times.start * FRAME_SECONDS + first - _EDGE if times.start else 0.0
    whole = (len(rise) + _SMOOTH - 2) * FRAME_SECONDS + 2 * _MIDDLE
    end = times.stop * FRAME_SECONDS + first + _EDGE if times.stop < len(rise) else whole
    low, high = float(edges[bins.start, 0]), float(edges[bins.stop - 1, 2])
    return Region(start, end, low, high, float(inside.mean()), gains, height)
