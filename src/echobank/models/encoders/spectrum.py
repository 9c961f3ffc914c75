"""An encoder without weights for machines that turn: the power spectrum, fine enough to tell their lines apart.

What turns sounds in lines: harmonics of the shaft, blade and gear meshing, twice the mains, and sidebands around
them. A change of speed moves all lines by one ratio, hence a logarithmic axis. Its step and reach follow from that:

- 24 bands per octave, each 2.9 % wide. The slip of an induction motor changes its speed by a few percent from idle to
  full load, so a line stays within a band or moves to the next one; mel bins (7 % wide at 1 kHz) blur gear sidebands.
- From 7 1/3 octaves below the top, 49.6 Hz: the mains and above. Lower down small microphones hear little but wind.
- To 8 kHz, half the rate of the challenge's recordings: bearings, valves and air are heard in the uppermost octave.
- Windows of 1 s: the 1.5 Hz that a Hann window cannot resolve are then the width of the lowest band, 1.45 Hz.

`spectrum_96` has 96 bands from 10 Hz to 4 kHz, as in published work on target domains of a few clips.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.errors import ConfigError
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.logmel import SAMPLE_RATE, audible
from echobank.models.weights.cards import Card

NAME = "spectrum"
COARSE = "spectrum_96"
BANDS_AN_OCTAVE = 24
BANDS = 176  # 7 1/3 octaves
HIGH_HZ = SAMPLE_RATE / 2
WINDOW = SAMPLE_RATE  # samples, 1 s, so that FFT line i lies at i Hz
HOP = WINDOW // 2  # samples; Welch, IEEE Transactions on Audio and Electroacoustics 15, 1967
STEP = 2.0**-15  # of 16 bits, full scale 1
FLOOR = STEP**2 / 12 / HIGH_HZ  # power a Hz of rounding to 16 bits

_BLOCK = 64  # windows transformed together: 16 MB


class Spectrum:
    """Tokens are the power per Hz of each band over 1 s, in decibels above the rounding noise of 16 bits, at least 0.

    Silence is thus the zero vector, and what lies below the rounding noise has no weight. The mean over tokens is
    Welch's average taken in decibels, in which a single bang counts little.

    Args:
        name: "spectrum" or "spectrum_96".
    """

    def __init__(self, name: str = NAME) -> None:
        bands = len(spectrum_edges_hz(name)) - 1
        self.facts = EncoderFacts(name, "", SAMPLE_RATE, "", bands, 1, 1, "fp32", "numpy", HOP / SAMPLE_RATE)

    @property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """The one band of the token grid, float64[1, 2], Hz."""
        edges = spectrum_edges_hz(self.facts.name)
        return np.array([[edges[0], edges[-1]]])

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Return float32[Pt, 1, bands] for each waveform float32[T]; one below 1 s is repeated until it has as much.

        Raises:
            AudioError: No samples, or one that is not finite.
            ConfigError: A layer other than 1.
        """
        if layer not in (None, 1):
            raise ConfigError("no such layer", value=layer, hint=f"{self.facts.name} has layer 1 only")
        return [_decibels(audible(waveform, WINDOW), self.facts.name)[:, None, :] for waveform in waveforms]


def load(card: Card | None, path: Path | None, device: str, precision: str, compile: bool) -> Spectrum:
    """Return the encoder; it has no weights and one arithmetic, so nothing is asked of the arguments."""
    del path, device, precision, compile
    return Spectrum(card.name if card else NAME)


def spectrum_edges_hz(name: str = NAME) -> NDArray[np.float64]:
    """Return the edges between the bands of a card, float64[bands + 1], Hz, ascending."""
    if name == COARSE:
        return np.geomspace(10.0, 4000.0, 97)
    return HIGH_HZ * np.exp2(np.arange(-BANDS, 1) / BANDS_AN_OCTAVE)


@cache
def shares(name: str) -> NDArray[np.float64]:
    """Return what each FFT line gives to the power per Hz of each band, float64[lines, bands].

    Line i stands for i - 1/2 to i + 1/2 Hz; a band takes of it what lies within its edges, so no power is lost or
    counted twice, and a band narrower than a line is not empty.
    """
    edges = spectrum_edges_hz(name)
    centres = np.arange(WINDOW // 2 + 1, dtype=np.float64)[:, None] * (SAMPLE_RATE / WINDOW)
    half = SAMPLE_RATE / WINDOW / 2
    overlap = np.minimum(centres + half, edges[1:]) - np.maximum(centres - half, edges[:-1])
    return np.asarray(np.maximum(overlap, 0) / np.diff(edges))


def _decibels(samples: Float32, name: str) -> Float32:
    """Return float32[Pt, bands] of float32[T], T at least one window."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    parts = []
    for start in range(0, len(windows), _BLOCK):
        spectra = np.fft.rfft(windows[start : start + _BLOCK] * hann, axis=1)
        power = 2 * (spectra.real**2 + spectra.imag**2) / (SAMPLE_RATE * (hann**2).sum())  # a Hz, one-sided
        parts.append(10 * np.log10(1 + power @ shares(name) / FLOOR))
    return np.concatenate(parts).astype(np.float32)
