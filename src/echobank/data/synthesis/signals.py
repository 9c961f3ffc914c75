"""What machine sounds are built from: turning shafts, harmonics, struck structures, coloured noise.

Everything is float64 at `RATE`. Physics and signal models: Randall, "Vibration-based OperatingPoint Monitoring",
Wiley 2011, chapters 2 and 3.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Signal = NDArray[np.floating[Any]]  # always float64 here; numpy types the arithmetic no closer
Rng = np.random.Generator

RATE = 16000
_WANDER_SECONDS = 0.4
_STEP = RATE * 2 // 1000
_SPLINE_SPREAD = 6 * 0.69


@dataclass(frozen=True)
class Modes:
    """Resonances of a structure.

    Attributes:
        hz: Natural frequencies, float64[M], Hz.
        damping: Fractions of critical damping, float64[M].
        gain: Relative strength of each, float64[M].
    """

    hz: Signal
    damping: Signal
    gain: Signal


@dataclass(frozen=True)
class Fault:
    """A defect of a machine.

    Attributes:
        kind: One of the machine's `faults`.
        severity: From 0 (none) to 1 (plain to hear).
    """

    kind: str
    severity: float


def severity(fault: Fault | None, kind: str) -> float:
    """Return how severe a fault of this kind is; 0 without one."""
    return fault.severity if fault is not None and fault.kind == kind else 0.0


def draw_modes(rng: Rng, count: int, low: float, high: float, damping: float = 0.02) -> Modes:
    """Return the resonances of one individual, spread over a range of frequencies in Hz."""
    hz = np.sort(np.exp(rng.uniform(np.log(low), np.log(high), count)))
    return Modes(hz, damping * rng.uniform(0.6, 1.6, count), rng.uniform(0.3, 1.0, count))


def times(count: int) -> Signal:
    """Return the time of each sample, float64[T], s."""
    return np.arange(count) / RATE


def wander(count: int, rng: Rng, seconds: float = _WANDER_SECONDS) -> Signal:
    """Return a slow random curve of unit standard deviation, float64[T]: load, supply and grip drifting.

    A cubic B-spline through one random knot every `seconds`, drawn in steps of 2 ms.
    """
    knots = rng.standard_normal(int(count / RATE / seconds) + 5)
    coarse = np.arange(0, count + _STEP, _STEP)
    place = coarse / RATE / seconds + 1.0
    i = place.astype(int)
    u = place - i
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    curve = sum((w * knots[i + shift] for shift, w in enumerate(weights, start=-1)), np.zeros(len(coarse)))
    smooth: Signal = np.interp(np.arange(count), coarse, curve / _SPLINE_SPREAD)
    return smooth


def shaft(hz: float | Signal, count: int, rng: Rng, instability: float = 0.002) -> Signal:
    """Return the angle of a shaft, float64[T], rad: the integral of a speed that drifts by a small fraction."""
    speed = hz * (1.0 + instability * wander(count, rng))
    return 2 * np.pi * (np.cumsum(speed) / RATE + rng.random())


def harmonics(angle: Signal, amplitudes: Signal, offsets: Signal) -> Signal:
    """Return the sum of a_k cos(k angle + offset_k), k = 1..K, float64[T]; those above the band are left out."""
    top = float(np.diff(angle).mean()) * RATE / (2 * np.pi)
    turn = np.exp(1j * angle)
    power = np.ones_like(turn)
    total = np.zeros(len(angle))
    for k, (amplitude, offset) in enumerate(zip(amplitudes, offsets, strict=True), start=1):
        if k * top > 0.48 * RATE:
            break
        power = power * turn
        total += amplitude * (power * np.exp(1j * offset)).real
    return total


def crossings(angle: Signal, step: float = 2 * np.pi) -> Signal:
    """Return the times at which an angle passes multiples of `step`, float64[N], s."""
    first, last = int(np.ceil(angle[0] / step)), int(np.floor(angle[-1] / step))
    passed: Signal = np.interp(np.arange(first, last + 1) * step, angle, times(len(angle)))
    return passed


def impulses(at: Signal, sizes: Signal | float, count: int) -> Signal:
    """Return impulses at the given times in s, each shared between its two nearest samples, float64[T]."""
    train = np.zeros(count + 1)
    place = np.asarray(at) * RATE
    inside = (place >= 0) & (place < count - 1)
    sizes = np.broadcast_to(sizes, place.shape)[inside]
    i = place[inside].astype(int)
    u = place[inside] - i
    np.add.at(train, i, sizes * (1 - u))
    np.add.at(train, i + 1, sizes * u)
    return train[:count]


def ring(force: Signal, modes: Modes) -> Signal:
    """Return what a structure answers to a force, float64[T]: a second-order resonator per mode, unit peak response."""
    from scipy.signal import lfilter

    total = np.zeros(len(force))
    for hz, damping, gain in zip(modes.hz, modes.damping, modes.gain, strict=True):
        radius = np.exp(-2 * np.pi * hz * damping / RATE)
        angle = 2 * np.pi * hz / RATE
        total += lfilter([0.0, gain * np.sin(angle)], [1.0, -2 * radius * np.cos(angle), radius**2], force)
    return total


def noise(count: int, rng: Rng, slope: float = 0.0) -> Signal:
    """Return Gaussian noise of unit power whose spectrum falls by `slope` dB per octave above 30 Hz, float64[T]."""
    size = fft.next_fast_len(count, real=True)
    spectrum = fft.rfft(rng.standard_normal(size))
    hz = np.maximum(fft.rfftfreq(size, 1 / RATE), 30.0)
    shaped = fft.irfft(spectrum * hz ** (-slope / (20 * np.log10(2))), size)[:count]
    return np.asarray(unit(shaped))


def band(x: Signal, low: float, high: float) -> Signal:
    """Return the part of a signal between two frequencies in Hz (second-order Butterworth), float64[T]."""
    from scipy.signal import butter, sosfilt

    edges = [max(low, 10.0), min(high, 0.49 * RATE)]
    return np.asarray(sosfilt(butter(2, edges, "bandpass", fs=RATE, output="sos"), x))


def unit(x: Signal) -> Signal:
    """Return a signal scaled to a mean power of 1; silence stays silence."""
    power = float(np.mean(x**2))
    return x / float(np.sqrt(power)) if power > 0 else x
