"""Impulses: clicks and knocks in a window, found in the short-time envelope of octave bands.

At the encoder's rate, the envelope of a band is its power in 8 ms every 4 ms, in dB above the median of a quarter of a
second around it. A peak of it is a candidate; the third highest says how impulsive the window is, so that one door that
slams does not count. The
band's spectral kurtosis (Antoni, Mechanical Systems and Signal Processing 20, 2006), the mean square of the power over
its squared mean, minus 2, is 0 for steady noise and large for impulses.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from echobank.machines.swings import even_size
from echobank.models.encoder import Float32
from echobank.models.logmel import powers

Float64 = NDArray[np.float64]

FRAME_SECONDS, STEP = 0.008, 0.004
EDGES_HZ = (125.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)  # octaves, and two of them at the bottom
BANDS = len(EDGES_HZ) - 1
KEPT = 256  # highest peaks that are kept per band
RANK = 3  # the peak whose height says how impulsive a band is
_AROUND = 62  # frames in a quarter of a second, of which the background is the median
_APART = 2  # frames on each side of a peak in which nothing is higher: 8 ms
_FLOOR = np.float32(1e-12)
LEAST_DB = 6.0  # of an impulse above the background
LEAST_COUNT = 3  # impulses that are a finding
_SHARE = 0.5  # of the height of the third highest that an impulse has
_LOOSE = 12  # part of an interval by which an impulse may be off
_REGULAR = 0.75  # share of impulses, and of beats, that keep to an interval


@dataclass(frozen=True)
class Peaks:
    """Peaks of the envelope of each band.

    Attributes:
        heights: The highest ones, the highest first, dB above the background, float32[BANDS, KEPT]; 0 is none.
        times: When, seconds, float32[BANDS, KEPT].
        kurtosis: Spectral kurtosis of each band, float32[BANDS].
    """

    heights: Float32
    times: Float32
    kurtosis: Float32

    @property
    def ranked(self) -> Float32:
        """Height of the third highest peak of each band, float32[BANDS], dB."""
        return self.heights[:, RANK - 1]

    @property
    def kept(self) -> Float32:
        """What a bank keeps: `ranked`, dB, and the kurtosis, float32[2, BANDS]."""
        kept: Float32 = np.stack((self.ranked, self.kurtosis))
        return kept


def peaks_of(samples: Float32, rate: int) -> Peaks:
    """Return the peaks of a window float32[T] at the encoder's rate, Hz."""
    heights, times = np.zeros((BANDS, KEPT), np.float32), np.zeros((BANDS, KEPT), np.float32)
    if len(samples) < (2 * FRAME_SECONDS + _AROUND * STEP) * rate:
        return Peaks(heights, times, np.zeros(BANDS, np.float32))
    power, kurtosis, step = _powers(samples, rate)
    level = 10 * np.log10(np.maximum(power, _FLOOR))
    above = level - _background(level)
    peaks = _maxima(above)
    for band in range(BANDS):
        found = np.flatnonzero(peaks[:, band])
        found = found[np.argsort(-above[found, band], kind="stable")[:KEPT]]
        heights[band, : len(found)] = above[found, band]
        times[band, : len(found)] = found * step + FRAME_SECONDS / 2
    return Peaks(heights, times, kurtosis)


def _powers(samples: Float32, rate: int) -> tuple[Float32, Float32, float]:
    """Return the power of each band and frame float32[F, BANDS], the kurtosis of each band, and the step in seconds."""
    size = even_size(FRAME_SECONDS, rate)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 2]
    lines = powers(frames, _window(size))
    mean = lines.mean(axis=0)
    kurtosis = np.einsum("fl,fl->l", lines, lines) / len(lines) / np.maximum(mean**2, _FLOOR**2) - 2
    pooled = _pooling(size, rate)
    return lines @ pooled, (kurtosis @ pooled / np.maximum(pooled.sum(axis=0), 1)).astype(np.float32), size / 2 / rate


@lru_cache(maxsize=4)
def _window(size: int) -> Float32:
    return np.hanning(size + 2)[1:-1].astype(np.float32)


@lru_cache(maxsize=4)
def _pooling(size: int, rate: int) -> Float32:
    """Return which lines of a transform are of which band, float32[size // 2 + 1, BANDS]."""
    hz = np.arange(size // 2 + 1) * (rate / size)
    return np.stack([(hz >= low) & (hz < high) for low, high in pairwise(EDGES_HZ)], axis=1).astype(np.float32)


def _background(level: Float32) -> Float32:
    """Return the median of a quarter of a second, between its middles a line, float32[F, BANDS]."""
    count = max(1, len(level) // _AROUND)
    bounds = np.linspace(0, len(level), count + 1).astype(int)
    medians = np.stack([np.sort(level[a:b], axis=0)[(b - a) // 2] for a, b in pairwise(bounds)])
    middles = (bounds[1:] + bounds[:-1]) / 2
    frames = np.arange(len(level))
    return np.stack([np.interp(frames, middles, medians[:, band]) for band in range(BANDS)], axis=1).astype(np.float32)


def _maxima(above: Float32) -> NDArray[np.bool_]:
    """Return which values are above 0 and the highest within 8 ms, bool[F, BANDS]; of equal ones the first."""
    lone = above > 0
    for shift in range(1, _APART + 1):
        lone[shift:] &= above[shift:] > above[:-shift]
        lone[:-shift] &= above[:-shift] >= above[shift:]
    return lone


@dataclass(frozen=True)
class Train:
    """Impulses of one band.

    Attributes:
        low_hz: Lower edge of the band.
        high_hz: Upper edge.
        times: When each is, seconds, ascending.
        height: Height of the typical one, dB above the background.
        kurtosis: Spectral kurtosis of the band.
        rate_hz: Impulses per second; None where they come at no regular interval.
    """

    low_hz: float
    high_hz: float
    times: tuple[float, ...]
    height: float
    kurtosis: float
    rate_hz: float | None

    @property
    def count(self) -> int:
        """How many."""
        return len(self.times)

    @property
    def first(self) -> float:
        """When the first is, seconds."""
        return self.times[0]

    @property
    def last(self) -> float:
        """When the last is, seconds."""
        return self.times[-1]


def train_of(peaks: Peaks, band: int, usual: float) -> Train | None:
    """Return the impulses of a band, the peaks that stand out; None where fewer than three do.

    A peak stands out that is higher than usual, and no more than half as high, in dB, as the third highest.

    Args:
        peaks: Of the window.
        band: Which band.
        usual: Height that peaks of healthy windows reach, dB.
    """
    heights = peaks.heights[band]
    cut = max(usual, LEAST_DB, _SHARE * float(peaks.ranked[band]))
    chosen = heights >= cut
    if chosen.sum() < LEAST_COUNT:
        return None
    order = np.argsort(peaks.times[band][chosen])
    times, heights = peaks.times[band][chosen][order].astype(np.float64), heights[chosen][order]
    rate, kept = rhythm_of(times)
    edges = EDGES_HZ[band], EDGES_HZ[band + 1]
    typical, kurtosis = float(np.median(heights[kept])), float(peaks.kurtosis[band])
    return Train(*edges, tuple(times[kept].tolist()), typical, kurtosis, rate)


def rhythm_of(times: Float64) -> tuple[float | None, NDArray[np.bool_]]:
    """Return the rate of events at float64[n] seconds, Hz, and which keep to it; None, and all, where too few do.

    Candidates are the intervals between neighbours and next neighbours; the one that most events keep to within a
    twelfth of it is fitted by least squares.
    """
    every = np.ones(len(times), bool)
    if len(times) < LEAST_COUNT:
        return None, every
    steps = np.concatenate([times[gap:] - times[:-gap] for gap in (1, 2)])
    best, share, on_beat = 0.0, 0.0, every
    for step in np.unique(np.round(steps[steps > 2 * STEP], 3)):
        fitted, agreed, kept = _fit(times, float(step))
        if agreed > share + 1e-9 or (agreed > share - 1e-9 and fitted > best):
            best, share, on_beat = fitted, agreed, kept
    return (1 / best, on_beat) if share >= _REGULAR else (None, every)


def _fit(times: Float64, step: float) -> tuple[float, float, NDArray[np.bool_]]:
    """Return the interval that fits events best near a given one, the share that agrees, and which events do."""
    kept = np.zeros(len(times), bool)
    begin = float(np.angle(np.exp(2j * np.pi * times / step).mean())) / (2 * np.pi) * step
    for _ in range(3):
        beats = np.round((times - begin) / step)
        kept = np.abs(times - begin - beats * step) <= step / _LOOSE
        if kept.sum() < LEAST_COUNT or np.ptp(beats[kept]) == 0:
            return step, 0.0, kept
        slope, offset = np.polyfit(beats[kept], times[kept], 1)
        step, begin = float(slope), float(offset)
        if step <= 2 * STEP:
            return step, 0.0, kept
    beats = np.unique(beats[kept])
    filled = len(beats) / (beats[-1] - beats[0] + 1)
    return step, float(min(kept.mean(), filled)), kept
