"""Log-mel spectrogram as Kaldi computes it and as BEATs hears it: 25 ms frames every 10 ms, 128 mel bins.

Every constant is from the official BEATs front end (microsoft/unilm, BEATs.py) and the Kaldi defaults it calls.
The same arithmetic twice, with shared tables: with numpy for every encoder that needs no torch, so that a result does
not depend on what else is installed, and with torch (any device) for BEATs, whose official numbers were made with it.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echobank.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

Float32 = NDArray[np.float32]

KALDI_128 = "kaldi-128mel-16k"
SAMPLE_RATE = 16000
FRAME, HOP, FFT, MELS = 400, 160, 512, 128
LOW_HZ, HIGH_HZ = 20.0, 8000.0
PRE_EMPHASIS = 0.97
FLOOR = np.float32(1.1920929e-07)  # float32 epsilon, Kaldi's floor under the logarithm
SHORTEST = FRAME + 15 * HOP  # samples of 16 frames, one BEATs patch: 0.175 s

_AT_ONCE = 128  # frames
_BLOCK = 1024  # frames at a time; bounds memory whatever the length


def logmel(waveform: Float32) -> Float32:
    """Return the natural log of mel power at int16 scale, float32[F, 128], of float32[T] in [-1, 1] at 16 kHz.

    F = 1 + (T - 400) // 160, whole frames only. A waveform below 2,800 samples is repeated until it has them.

    Raises:
        AudioError: No samples, or one that is not finite.
    """
    blocks = [_transform(block) for block in _blocks(audible(waveform))]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def logmel_torch(waveform: Float32) -> Float32:
    """Return `logmel` as BEATs hears it: made with torch.

    On Intel processors torch's Fourier transform rounds as the official one does, which shows in bins 140 dB below a
    pure tone and nowhere else.

    Raises:
        AudioError: As `logmel`.
    """
    import torch

    blocks = [logmel_tensor(torch.from_numpy(block)[None])[0].numpy() for block in _blocks(audible(waveform))]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def logmel_tensor(waveforms: "Tensor") -> "Tensor":
    """Return `logmel` of a batch on its device: float32[B, F, 128] of float32[B, T], T >= 2,800, all finite."""
    import torch

    filters = torch.from_numpy(mel_filters()).to(waveforms.device)
    # torch's own window, not `povey_window`: they differ in the last bit, which the official numbers show
    window = torch.hann_window(FRAME, periodic=False).pow(0.85).to(waveforms.device)
    x = waveforms.unfold(1, FRAME, HOP) * 32768.0
    x = x - x.mean(dim=2, keepdim=True)
    x = x - PRE_EMPHASIS * torch.cat([x[..., :1], x[..., :-1]], dim=2)
    spectrum = torch.fft.rfft(x * window, n=FFT)
    power = spectrum.real.square() + spectrum.imag.square()
    logmels: Tensor = (power @ filters).clamp(min=float(FLOOR)).log()
    return logmels


def audible(waveform: Float32, shortest: int = SHORTEST) -> Float32:
    """Return the waveform as float32[T] of at least `shortest` samples: a shorter one is repeated.

    Raises:
        AudioError: No samples, not one channel, or a sample that is not finite.
    """
    samples = np.ascontiguousarray(waveform, dtype=np.float32)
    if samples.ndim != 1:
        raise AudioError("a waveform is one channel of samples", value=samples.shape)
    if not len(samples):
        raise AudioError("no samples")
    if not np.isfinite(samples).all():
        raise AudioError("samples that are not finite", value=f"{np.count_nonzero(~np.isfinite(samples))} of them")
    return samples if len(samples) >= shortest else np.resize(samples, shortest)


def _blocks(samples: Float32) -> Iterator[Float32]:
    """Yield overlapping stretches of samples that hold `_BLOCK` frames each, so that memory is bounded."""
    frames = 1 + (len(samples) - FRAME) // HOP
    for start in range(0, frames, _BLOCK):
        count = min(_BLOCK, frames - start)
        yield samples[start * HOP : (start + count - 1) * HOP + FRAME]


def _transform(samples: Float32) -> Float32:
    x = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP] * np.float32(32768.0)
    x -= x.mean(axis=1, keepdims=True)
    x -= np.float32(PRE_EMPHASIS) * np.concatenate([x[:, :1], x[:, :-1]], axis=1)
    x *= povey_window()
    power = powers(np.pad(x, ((0, 0), (0, FFT - FRAME))))
    return np.asarray(np.log(np.maximum(power @ mel_filters(), FLOOR)), dtype=np.float32)


def powers(frames: Float32, window: Float32 | None = None) -> Float32:
    """Return the power spectrum of frames float32[F, T] under a window float32[T], float32[F, T // 2 + 1].

    Some frames at a time: arrays of more than a megabyte are given back to the system each time, and asking for them
    again takes several times as long as the transform.
    """
    power = np.empty((len(frames), frames.shape[1] // 2 + 1), np.float32)
    for start in range(0, len(frames), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        spectrum = np.fft.rfft(frames[part] if window is None else frames[part] * window, axis=1)
        power[part] = spectrum.real**2 + spectrum.imag**2
    return power


@lru_cache(maxsize=1)
def povey_window() -> Float32:
    """Return Kaldi's Povey window, float32[400]: a symmetric Hann window to the power 0.85, made in float32."""
    turn = np.arange(FRAME, dtype=np.float32) * np.float32(2 * np.pi / (FRAME - 1))
    return np.asarray((np.float32(0.5) - np.float32(0.5) * np.cos(turn)) ** np.float32(0.85), dtype=np.float32)


@lru_cache(maxsize=1)
def mel_filters() -> Float32:
    """Return the mel filters, float32[257, 128]: triangles that are linear in mel = 1127 ln(1 + f / 700).

    In float32 throughout, as the official table is made. Filter 3 covers no FFT line; it is kept, a constant in
    every frame, as the official front end has it. The last line, 8 kHz, has weight 0.
    """
    low, step = _mel_step()
    left = np.float32(low) + np.arange(MELS, dtype=np.float32) * np.float32(step)
    centre = np.float32(low) + np.arange(1, MELS + 1, dtype=np.float32) * np.float32(step)
    right = np.float32(low) + np.arange(2, MELS + 2, dtype=np.float32) * np.float32(step)
    lines = np.arange(FFT // 2, dtype=np.float32)[:, None] * np.float32(SAMPLE_RATE / FFT)
    mel = np.float32(1127.0) * np.log(np.float32(1.0) + lines / np.float32(700.0))
    weights = np.maximum(0, np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)))
    return np.asarray(np.pad(weights, ((0, 1), (0, 0))), dtype=np.float32)


def mel_edges_hz() -> NDArray[np.float64]:
    """Return lower edge, centre and upper edge of each mel filter, float64[M, 3], Hz."""
    low, step = _mel_step()
    edges = hz_of(low + step * np.arange(MELS + 2, dtype=np.float64))
    return np.stack((edges[:-2], edges[1:-1], edges[2:]), axis=1)


def mel_of(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1127 ln(1 + f / 700) of frequencies in Hz."""
    return np.asarray(1127.0 * np.log1p(hz / 700.0))


def hz_of(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequencies in Hz of mel values."""
    return np.asarray(700.0 * np.expm1(mel / 1127.0))


def band_edges_hz(bands: int) -> NDArray[np.float64]:
    """Return lower and upper edge of equal groups of mel bins, float64[bands, 2], Hz.

    Neighbouring groups meet halfway between the centres of their outermost filters.
    """
    low, step = _mel_step()
    inner = np.asarray(low + step * (np.arange(1, bands) * (MELS // bands) + 0.5), dtype=np.float64)
    edges = np.concatenate([[LOW_HZ], hz_of(inner), [HIGH_HZ]])
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _mel_step() -> tuple[float, float]:
    low, high = mel_of(np.array([LOW_HZ, HIGH_HZ]))
    return float(low), float(high - low) / (MELS + 1)
