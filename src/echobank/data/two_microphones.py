"""Two microphones to one signal: what the near one hears and the far one does not predict ("W1").

DCASE 2026 Task 2 records a machine by a near microphone (channel 0), its surroundings by a far one (channel 1). Noise
of the surroundings reaches both through a path that is fixed and linear to a first approximation, so one complex number
per frequency line, found by least squares over the clip itself, predicts it in the near channel:

    H[f] = sum_t C[t, f] conj(F[t, f]) / (sum_t |F[t, f]|^2 + 1e-12),   Y = C - H F

Both channels are first brought to a joint peak of 0.9, and the scale is restored at the end. A frame lasts 64 ms, 1024
samples at the 16 kHz of the challenge. The recipe and its figures are of one author, published after the truth of the
challenge was out: it is a switch, never chosen automatically.
"""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PEAK = 0.9
RATE = 16_000
SIZE = 1024  # samples of a frame at RATE, periodic Hann; frames begin every half frame
_TINY = 1e-12  # beside the power of the far channel; a silent one predicts nothing


def near_minus_far(near: Float32, far: Float32, rate: int = RATE) -> Float32:
    """Return what the far channel does not predict of the near one, float32[T].

    The result has the scale of `near`: both channels times g give it times g. Identical channels give silence, up to
    rounding; a silent far channel changes nothing.

    Args:
        near: Channel beside the machine, float32[T], T at least 1.
        far: Channel away from it, float32[T], of the same recording.
        rate: Their rate, Hz.
    """
    peak = max(float(np.abs(near).max()), float(np.abs(far).max()))
    if peak == 0:
        return near.copy()
    scale = PEAK / peak
    hop = round(SIZE * rate / RATE / 2)
    window = _hann(2 * hop)
    c, f = (_transformed(x * np.float64(scale), window) for x in (near, far))
    h = (c * f.conj()).sum(axis=0) / ((np.abs(f) ** 2).sum(axis=0) + _TINY)
    residual: Float32 = (_restored(c - h * f, window, len(near)) / scale).astype(np.float32)
    return residual


def _hann(size: int) -> Float64:
    window: Float64 = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return window


def _transformed(x: Float64, window: Float64) -> NDArray[np.complex128]:
    """Return the short-time Fourier transform complex128[frames, lines], centred, with reflected ends."""
    size, hop = len(window), len(window) // 2
    frames = -(-len(x) // hop) + 1
    padded = np.pad(x, (hop, hop), mode="reflect")
    padded = np.pad(padded, (0, max(0, (frames - 1) * hop + size - len(padded))))
    cut = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:frames]
    return np.fft.rfft(cut * window, axis=1)


def _restored(spectra: NDArray[np.complex128], window: Float64, length: int) -> Float64:
    """Return the signal float64[length] of least squares: overlap-add over squared windows (Griffin and Lim, 1984)."""
    size, hop = len(window), len(window) // 2
    frames = np.fft.irfft(spectra, size, axis=1)
    total, weight = (np.zeros((len(frames) - 1) * hop + size) for _ in range(2))
    for number, frame in enumerate(frames):
        place = slice(number * hop, number * hop + size)
        total[place] += frame * window
        weight[place] += window**2
    inside = slice(hop, hop + length)
    restored: Float64 = total[inside] / weight[inside]
    return restored
