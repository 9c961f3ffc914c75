"""Regions: the stretches of time and bands of frequency in which a window is unlike similar healthy windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.models.encoder import Float32
from echobank.models.logmel import HOP, SAMPLE_RATE, mel_edges_hz, mel_of

DECIBEL = 10 / np.log(10)  # natural-log power to dB
FRAME_SECONDS = HOP / SAMPLE_RATE
_SMOOTH_FRAMES = 21  # 0.2 s
_LEAST_DB = 5.0
_DEVIATIONS = 1.5
_LEAST_FRAMES = 10
_LEAST_WEIGHT = 40.0  # chance alone makes specks of less
_SHARE = 0.05
_MOST = 3
_SHARED = 1 / 3  # of a region that is one with another

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A stretch of time and band of frequency that is odd.

    Attributes:
        start: Seconds from the beginning of the window.
        end: As `start`.
        low_hz: Lower edge of the band.
        high_hz: Upper edge of the band.
        excess_db: Mean level above (or, negative, below) the healthy one.
        gains_db: Mean excess of each mel bin in it, float64[M]; 0 outside.
        weight: Sum of excess in units of its healthy deviation; what regions are ranked by.
    """

    start: float
    end: float
    low_hz: float
    high_hz: float
    excess_db: float
    gains_db: Float64
    weight: float


def excess_db(mel: Float32, profile: Float32) -> Float64:
    """Return how far each bin of each frame lies above its healthy mean, smoothed over 0.2 s, float64[F, M], dB.

    Args:
        mel: Natural-log mel power of the window, float32[F, M].
        profile: Mean and deviation of healthy windows, float32[2, M].
    """
    from scipy.ndimage import uniform_filter1d

    raw = (mel.astype(np.float64) - profile[0]) * DECIBEL
    smooth: Float64 = uniform_filter1d(raw, min(_SMOOTH_FRAMES, len(raw)), axis=0, mode="nearest")
    return smooth


def find_regions(excess: Float64, profile: Float32) -> list[Region]:
    """Return the up to three oddest regions, the oddest first; none when nothing stands out.

    A bin counts when it is 5 dB, and 1.5 healthy deviations of a frame, above or below its healthy mean. Where the
    whole window is that much louder or quieter, bins count that stand out from it in the same direction.

    Args:
        excess: As `excess_db` gives it.
        profile: Mean and deviation of healthy windows, float32[2, M].
    """
    from scipy.ndimage import label

    deviation = np.maximum(profile[1].astype(np.float64) * DECIBEL, 1.0)
    bar = np.maximum(_LEAST_DB, _DEVIATIONS * deviation)
    overall = float(np.median(excess))
    base = overall if abs(overall) >= _LEAST_DB else 0.0
    found = []
    for sign in (1.0, -1.0):
        odd = (sign * (excess - base) >= bar) & (sign * excess >= bar)
        labels, count = label(odd, structure=np.ones((3, 3)))
        found += [_region(labels == i, excess, deviation) for i in range(1, count + 1)]
    least = _LEAST_FRAMES * FRAME_SECONDS
    found = [region for region in found if region.end - region.start >= least and region.weight >= _LEAST_WEIGHT]
    total = sum(region.weight for region in found)
    found.sort(key=lambda region: -region.weight)
    return [region for region in found if region.weight >= _SHARE * total][:_MOST]


def is_known(region: Region, known: Sequence[Region]) -> bool:
    """Return whether a third of a region, in time and band, is part of another one that is known already."""
    low, high = mel_of(np.array([region.low_hz, region.high_hz]))
    whole = (region.end - region.start) * (high - low)
    for other in known:
        bottom, top = mel_of(np.array([other.low_hz, other.high_hz]))
        seconds = min(region.end, other.end) - max(region.start, other.start)
        if max(seconds, 0.0) * max(min(high, top) - max(low, bottom), 0.0) > _SHARED * whole:
            return True
    return False


def without(samples: Float32, rate: int, region: Region) -> Float32:
    """Return a waveform in which a region is brought to its healthy level: band occlusion.

    Args:
        samples: float32[T].
        rate: Hz.
        region: What to level.
    """
    from scipy.signal import istft, stft

    size = 2 * max(64, round(0.016 * rate))
    frequencies, times, spectrum = stft(samples.astype(np.float64), rate, nperseg=size)
    centres = mel_edges_hz()[:, 1]
    gain = np.interp(frequencies, centres, -region.gains_db, left=0.0, right=0.0)
    inside = (times >= region.start) & (times <= region.end)
    spectrum = spectrum * 10 ** (np.outer(gain, inside) / 20)
    levelled = istft(spectrum, rate, nperseg=size)[1][: len(samples)]
    padded = np.zeros(len(samples), np.float32)
    padded[: len(levelled)] = levelled
    return padded


def _region(mask: NDArray[np.bool_], excess: Float64, deviation: Float64) -> Region:
    frames, bins = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    edges = mel_edges_hz()
    gains = np.zeros(mask.shape[1])
    counts = mask.sum(axis=0)
    gains[bins] = (excess * mask).sum(axis=0)[bins] / counts[bins]
    margin = _SMOOTH_FRAMES // 2  # smoothing ate as much of each end
    return Region(
        max(0.0, float(frames[0] - margin) * FRAME_SECONDS),
        min(len(mask) + 1.5, float(frames[-1]) + 1.0 + margin) * FRAME_SECONDS,
        float(edges[bins[0], 0]),
        float(edges[bins[-1], 2]),
        float(excess[mask].mean()),
        gains,
        float((np.abs(excess) / deviation)[mask].sum()),
    )
