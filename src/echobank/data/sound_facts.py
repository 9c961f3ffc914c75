"""Facts of a window's sound that tell the recording chain from the machine: levels by third octave, floor, offset, hum.

They are taken from the samples of the source, before resampling, by one FFT of the window, and kept as hundredths of
a decibel in 16 bits, so that months of them fit. A quantity that a window does not have is `MISSING`.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]

CENTRES = tuple(10 ** (number / 10) for number in range(14, 44))  # thirds of 25 Hz to 20 kHz, IEC 61260-1, base ten
CHAIN = ("floor", "peak", "offset", "clipped", "hum 50", "hum 60", "dead")
OTHER = "other level"
NAMES = (
    *CHAIN,
    *(f"third {centre:.0f}" for centre in CENTRES),
    OTHER,
    *(f"other third {centre:.0f}" for centre in CENTRES),
)
MISSING = -32768
STEP = 100.0  # of 1 dB
THIRDS = slice(len(CHAIN), len(CHAIN) + len(CENTRES))
OTHER_THIRDS = slice(len(CHAIN) + len(CENTRES) + 1, len(NAMES))

_LOWEST = -200.0  # dB of full scale
_NONE = -100.0  # dB of a share that is zero
_FRAME_SECONDS = 0.02
_QUIET = 0.05  # share of frames that are quieter than the floor
_FULL_SCALE = 32767 / 32768
_DEAD_SECONDS = 0.002  # samples that do not change for that long are no sound
_LINES = (1, 2, 3, 4, 6)  # harmonics of the mains that a rectifier or a ground loop gives


def sound_facts(samples: Float32, rate: int) -> Int16:
    """Return the facts of a window, int16[len(NAMES)], hundredths of a decibel.

    Args:
        samples: The channel that is heard, at the rate of the source, float32[T].
        rate: Their rate, Hz.
    """
    values = np.full(len(NAMES), np.nan)
    mean = float(samples.mean(dtype=np.float64))
    moved = samples - np.float32(mean)
    power, step = _spectrum(moved, rate)
    hot = float(np.mean(np.abs(samples) >= _FULL_SCALE))
    values[: len(CHAIN)] = (
        _floor(moved, rate),
        _decibel(float(np.abs(samples).max()) ** 2),
        _decibel(mean**2),
        _share(hot),
        _hum(power, step, 50.0),
        _hum(power, step, 60.0),
        _share(_dead(samples, rate)),
    )
    values[THIRDS] = _thirds(power, step, rate)
    return packed(values)


def paired(facts: Int16, other: Int16, level: float) -> Int16:
    """Return facts of a window with those of a second channel of the same moment, whose level is known in dB."""
    both = facts.copy()
    both[THIRDS.stop] = round(level * STEP)
    both[OTHER_THIRDS] = other[THIRDS]
    return both


def packed(values: Float64) -> Int16:
    """Return decibels of any shape as they are kept; NaN is missing."""
    steps = np.clip(np.round(np.nan_to_num(values) * STEP), -32767, 32767)
    return np.where(np.isnan(values), MISSING, steps).astype(np.int16)


def in_decibels(facts: NDArray[np.integer]) -> Float64:
    """Return packed facts of any shape in decibels; what is missing is NaN."""
    return np.where(facts == MISSING, np.nan, facts / STEP)


def _spectrum(samples: Float32, rate: int) -> tuple[Float64, float]:
    """Return the power by frequency, float64[K], whose sum is the mean power, and the step between two, Hz."""
    from scipy.fft import rfft

    count = len(samples)
    window = _hann(count)
    found = rfft(samples * window)
    power = (found.real.astype(np.float64) ** 2 + found.imag.astype(np.float64) ** 2) * (2 / count / _energy(count))
    return power, rate / count


@lru_cache(maxsize=8)
def _hann(count: int) -> Float32:
    window: Float32 = (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(count) + 0.5) / count)).astype(np.float32)
    return window


@lru_cache(maxsize=8)
def _energy(count: int) -> float:
    return float(np.sum(_hann(count).astype(np.float64) ** 2))


def _thirds(power: Float64, step: float, rate: int) -> Float64:
    """Return the level of each third octave, dB of full scale; NaN where the band ends above half the rate."""
    edges = np.array([CENTRES[0] * 10**-0.05, *(centre * 10**0.05 for centre in CENTRES)])
    ends = np.minimum(np.ceil(edges / step).astype(int), len(power))
    sums = np.add.reduceat(np.append(power, 0.0), ends)[:-1] * (np.diff(ends) > 0)
    levels = np.array([_decibel(float(value)) for value in sums])
    levels[(edges[1:] > rate / 2 * 1.001) | (np.diff(ends) == 0)] = np.nan
    return levels


def _hum(power: Float64, step: float, mains: float) -> float:
    """Return by how much the lines of the mains stand above what lies around them, median of some harmonics, dB."""
    if step > 2.0:  # a window shorter than half a second does not tell a line from its neighbours
        return float("nan")
    above = []
    for number in _LINES:
        centre = number * mains / step
        wide, narrow = round(12 / step), max(1, round(1.5 / step))
        middle = round(centre)
        if middle + wide >= len(power):
            break
        around = np.concatenate(
            (power[middle - wide : middle - 3 * narrow], power[middle + 3 * narrow : middle + wide])
        )
        line = float(power[middle - narrow : middle + narrow + 1].max())
        above.append(_decibel(line) - _decibel(float(np.mean(around)) if len(around) else 0.0))
    return float(np.median(above)) if above else float("nan")


def _floor(samples: Float32, rate: int) -> float:
    size = max(1, round(_FRAME_SECONDS * rate))
    count = max(1, len(samples) // size)
    frames = samples[: count * size].reshape(count, -1) if len(samples) >= size else samples[None]
    levels = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return _decibel(float(np.quantile(levels, _QUIET)))


def _dead(samples: Float32, rate: int) -> float:
    """Return the share of samples in runs that do not change for 2 ms or more."""
    still = np.flatnonzero(np.diff(samples) != 0)
    ends = np.concatenate(([-1], still, [len(samples) - 1]))
    runs = np.diff(ends)
    return float(runs[runs > _DEAD_SECONDS * rate].sum() / len(samples))


def _decibel(power: float) -> float:
    return max(_LOWEST, 10 * float(np.log10(power))) if power > 0 else _LOWEST


def _share(share: float) -> float:
    return max(_NONE, 10 * float(np.log10(share))) if share > 0 else _NONE
